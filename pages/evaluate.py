"""Entry of the page at /evaluate for a first visit; the page itself is pages/evaluate/page.py."""

from app import main

main()
