"""What every part is given."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from benchmarks.places import Places
from benchmarks.sizes import Sizes
from lockstep.engine.services import Settings


@dataclass(frozen=True, kw_only=True)
class Bench:
    places: Places
    sizes: Sizes
    seed: int
    say: Callable[[str], None]
    #: rounds that were asked for, whatever a part thinks
    asked: int | None = None
    #: settings of a run that are not the default ones
    settings: Mapping[str, Any] = field(default_factory=dict)

    def rounds(self, usual: int) -> int:
        return self.asked or usual

    @property
    def default_shards(self) -> int:
        """The most shards that a run takes unless it is told otherwise."""
        return Settings().shards
