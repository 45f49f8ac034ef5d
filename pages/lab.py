"""Entry of the page at /lab for a first visit; the page itself is pages/lab/page.py."""

from app import main

main()
