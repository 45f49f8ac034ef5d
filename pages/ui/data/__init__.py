"""What pages read from the core: results kept between runs, and the plain rows that charts draw."""
