"""The pages of the app; each is a folder with a page.py, and none is meant to be imported but for its parts."""
