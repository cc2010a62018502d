"""How much data a demo makes: SIZE multiplies the numbers of the default."""

import dataclasses
import math

from campus.shapes import Size
from lockstep.demo.errors import WrongSizeError

NAMED = {"small": 0.05}
SMALLEST, LARGEST = 0.005, 1000.0
#: What the example of a failure needs: its seventh batch of 1,000 submissions is the one that fails.
FAILING_SUBMISSIONS = 7000
FAILURE = Size(users=500, submissions=8000, sessions=500, uploads=60)


def scaled(default: Size, text: str) -> Size:
    """Return the default's numbers multiplied by SIZE: a number, or 'small'."""
    factor = NAMED.get(text) or _number(text)
    if not SMALLEST <= factor <= LARGEST:
        raise WrongSizeError(text, f"it has to be from {SMALLEST:g} to {LARGEST:g}.")
    counts = {name: max(1, round(count * factor)) for name, count in numbers(default).items()}
    return dataclasses.replace(default, **counts)


def numbers(size: Size) -> dict[str, int]:
    """Return how many there are of each kind."""
    return {name: count for name, count in dataclasses.asdict(size).items() if name != "seed"}


def words(size: Size) -> str:
    """Say a size."""
    return ", ".join(f"{count:,} {name}" for name, count in numbers(size).items())


def _number(text: str) -> float:
    try:
        factor = float(text)
    except ValueError:
        factor = math.nan
    if not math.isfinite(factor):
        raise WrongSizeError(text, f"it has to be a number such as 0.1 or 10, or {' or '.join(NAMED)}.")
    return factor
