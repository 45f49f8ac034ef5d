"""The controlled pre-training lab: exemplar sequences, small transformers, and the minimal mathematical model."""
