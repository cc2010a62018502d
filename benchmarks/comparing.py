"""A number counts only where the outcome is right."""

from __future__ import annotations

#: records, and a hash of what they hold
Content = tuple[int, str]


class DifferentContentError(RuntimeError):
    """Somebody was fast and wrong."""

    def __init__(self, who: str, wanted: Content, found: Content) -> None:
        super().__init__(f"{who} left {found} and not {wanted} (records, hash)")


def same(who: str, wanted: Content, found: Content) -> None:
    """Raise DifferentContentError unless both are the same."""
    if found != wanted:
        raise DifferentContentError(who, wanted, found)
