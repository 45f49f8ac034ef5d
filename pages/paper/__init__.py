"""The paper page and its parts."""
