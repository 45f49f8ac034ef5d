"""Measurements that are run by hand: how fast, how large, against what."""
