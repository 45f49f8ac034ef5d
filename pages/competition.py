"""Entry of the page at /competition for a first visit; the page itself is pages/competition/page.py."""

from app import main

main()
