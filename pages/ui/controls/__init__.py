"""What a user chooses: the study and the analysis, their place in the address, and the way back."""
