"""ICL Observatory's headless core: how in-context learning emerges during pre-training (arXiv 2406.14022).

Importing it is light: no torch, no file, no network. It never draws; the app in app.py and pages/ does.
"""
