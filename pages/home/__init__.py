"""The home page: curves of the shipped suite, the ways in, what is computed, and the latest jobs."""
