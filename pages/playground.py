"""Entry of the page at /playground for a first visit; the page itself is pages/playground/page.py."""

from app import main

main()
