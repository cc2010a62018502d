"""Rounds of competitors in a shuffled order, and what one came to against another."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import Any, Literal

Better = Literal["lower", "higher"]


@dataclass(frozen=True, kw_only=True)
class Measured:
    """What one competitor took once."""

    who: str
    round: int
    seconds: float
    #: records that were done in these seconds
    records: int
    #: whatever else was seen: bytes, batches, seconds of a phase
    facts: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Done:
    """What a competitor says of itself."""

    seconds: float
    records: int
    facts: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """One line of a part: ours against something, round by round, and the goal."""

    title: str
    values: tuple[float, ...]
    #: what a value is: "×", "%", "s"
    unit: str
    better: Better
    #: None for what is shown and not promised
    bar: float | None = None

    @property
    def median(self) -> float:
        return median(self.values)

    @property
    def kept(self) -> bool | None:
        if self.bar is None:
            return None
        return self.median <= self.bar if self.better == "lower" else self.median >= self.bar


@dataclass(frozen=True, kw_only=True)
class Part:
    """All that one part came to."""

    name: str
    title: str
    #: what was measured, and how
    how: tuple[str, ...]
    measured: tuple[Measured, ...]
    comparisons: tuple[Comparison, ...]
    #: what the records are called
    records: str = "rows"


def rounds(
    competitors: Mapping[str, Callable[[], Done]],
    count: int,
    seed: int,
    say: Callable[[str], None],
) -> Iterator[Measured]:
    """Let each competitor go once a round, in an order that the seed shuffles."""
    order = random.Random(seed)
    for number in range(1, count + 1):
        names = list(competitors)
        order.shuffle(names)
        for name in names:
            done = competitors[name]()
            say(f"round {number}/{count}: {name}: {done.seconds:.2f} s, {done.records / done.seconds:,.0f}/s")
            yield Measured(
                who=name, round=number, seconds=done.seconds, records=done.records, facts=done.facts
            )


def of(measured: Sequence[Measured], who: str) -> list[Measured]:
    """Return what one competitor did, by round."""
    return sorted((one for one in measured if one.who == who), key=lambda one: one.round)


def time_ratios(measured: Sequence[Measured], ours: str, reference: str) -> tuple[float, ...]:
    """Return our seconds for each second of the reference's, round by round; per record."""
    return tuple(
        (mine.seconds / mine.records) / (theirs.seconds / theirs.records)
        for mine, theirs in zip(of(measured, ours), of(measured, reference), strict=True)
    )


def speed_ratios(measured: Sequence[Measured], ours: str, reference: str) -> tuple[float, ...]:
    """Return our records a second for each of the reference's, round by round."""
    return tuple(1 / ratio for ratio in time_ratios(measured, ours, reference))


def fact_ratios(
    measured: Sequence[Measured], who: str, fact: str, of_what: str | None = None
) -> tuple[float, ...]:
    """Return a fact over another, or over the seconds, round by round."""
    return tuple(
        float(one.facts[fact]) / float(one.facts[of_what] if of_what else one.seconds)
        for one in of(measured, who)
    )
