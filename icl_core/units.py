"""Sizes in words, in decimal units as the Hub and most disks state them (1 kB is 1,000 bytes)."""

from __future__ import annotations

__all__ = ["byte_count"]


def byte_count(n_bytes: float) -> str:
    """Bytes in a fitting unit.

    >>> byte_count(410e6), byte_count(1536), byte_count(12)
    ('410 MB', '1.54 kB', '12 B')
    """
    for size, unit in ((1e12, "TB"), (1e9, "GB"), (1e6, "MB"), (1e3, "kB")):
        if n_bytes >= size:
            return f"{n_bytes / size:.3g} {unit}"
    return f"{n_bytes:.0f} B"
