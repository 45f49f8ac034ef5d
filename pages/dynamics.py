"""Entry of the page at /dynamics for a first visit; the page itself is pages/dynamics/page.py."""

from app import main

main()
