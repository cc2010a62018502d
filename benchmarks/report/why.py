"""Words beside the numbers, a file a part: why a goal is missed, as the profile shows it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

FOLDER = Path(__file__).with_name("why")


def lines(part: str) -> Iterator[str]:
    """Yield the words on a part, if there are any."""
    file = FOLDER / f"{part}.md"
    if file.exists():
        yield file.read_text(encoding="utf-8").strip()
        yield ""
