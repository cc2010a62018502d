"""Pack changes for the journal: a line of JSON each, then the bodies that they hold, compressed."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import zstandard

from lockstep.domain.errors import DataError
from lockstep.domain.progress import Change
from lockstep.stores.s3.state import State

#: between the lines and the bodies; JSON holds no such byte
_END = b"\0"


def pack(changes: Sequence[Change]) -> bytes:
    """Return the changes, compressed; a body is there once for each image that holds it."""
    bodies: list[bytes] = []
    at = 0

    def placed(state: State | None) -> State | None:
        nonlocal at
        if state is None or "inline" not in state:
            return state
        body = state["inline"]
        bodies.append(body)
        at += len(body)
        return {**state, "inline": [at - len(body), at]}

    lines = [_line(change.key, placed(change.before), placed(change.after)) for change in changes]
    squeeze = zstandard.ZstdCompressor(level=3).compressobj()
    parts = ["\n".join(lines).encode(), *([_END, *bodies] if bodies else [])]
    return b"".join([*(squeeze.compress(part) for part in parts), squeeze.flush()])


def _line(key: str, before: State | None, after: State | None) -> str:
    return json.dumps([key, before, after], ensure_ascii=False, sort_keys=True)


def unpack(packed: bytes) -> list[Change]:
    """Return the changes that `pack` packed; DataError for anything else."""
    try:
        with zstandard.ZstdDecompressor().stream_reader(packed) as reader:
            lines, _, bodies = reader.read().partition(_END)
        found = [json.loads(line) for line in lines.decode().split("\n") if line]
        return [
            Change(key=key, before=_held(before, bodies), after=_held(after, bodies))
            for key, before, after in found
        ]
    except (zstandard.ZstdError, ValueError, TypeError) as problem:
        raise DataError(f"this is no batch of object changes: {problem}.") from problem


def _held(state: Any, bodies: bytes) -> State | None:
    if not state or "inline" not in state:
        return state  # type: ignore[no-any-return]
    start, end = state["inline"]
    return {**state, "inline": bodies[start:end]}
