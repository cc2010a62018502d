"""What a batch may be, as the settings say."""

from __future__ import annotations

from lockstep.domain.sizing import Bounds
from lockstep.engine.services import Settings


def bounds_of(settings: Settings, most: int) -> Bounds:
    """Return the bounds of batches; `most`: records of this kind that commit together, at most."""
    return Bounds(
        seconds=settings.batch_seconds, least=settings.batch_least, most=most, size=settings.batch_bytes
    )
