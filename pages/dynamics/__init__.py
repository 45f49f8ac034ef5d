"""The dynamics page and its parts."""
