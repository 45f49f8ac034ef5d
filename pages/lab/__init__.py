"""The lab page: trained runs, training a run, and the minimal model."""
