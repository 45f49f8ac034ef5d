"""Exact label log-likelihoods from token ids; tasks and label settings are not known here."""
