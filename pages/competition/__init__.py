"""The competition page and its parts."""
