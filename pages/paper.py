"""Entry of the page at /paper for a first visit; the page itself is pages/paper/page.py."""

from app import main

main()
