"""How numbers and names are written, and the sentences that more than one page says."""
