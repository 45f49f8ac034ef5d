"""Entry of the page at /fusion for a first visit; the page itself is pages/fusion/page.py."""

from app import main

main()
