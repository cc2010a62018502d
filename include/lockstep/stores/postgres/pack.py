"""Changed rows made ready to be written, without a connection: what differs, checked, as lines of COPY."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import compress, repeat
from operator import is_, itemgetter
from typing import Any

from lockstep.domain.errors import RecordError
from lockstep.stores.postgres.lines import UNSENDABLE, Lines
from lockstep.stores.postgres.shape import Column, Shape, meant
from lockstep.stores.postgres.values import fault, same

Row = Mapping[str, Any]
Pair = tuple[Row, Row]
#: what was read, what became of it, the names of the columns that differ, the version that was read
Changed = tuple[Row, Row, tuple[str, ...], str]

#: what stands for the version of a row that was read under a lock: nothing looks at it
LOCKED = "0"


@dataclass(frozen=True, kw_only=True)
class Packed:
    """Rows that change, ready to be sent."""

    #: the columns that some of them change
    columns: tuple[Column, ...]
    #: what was read of each
    rows: tuple[Row, ...]
    #: a line of COPY each
    lines: tuple[str, ...]
    #: whether all of them change the same columns
    whole: bool
    #: whether their lines say which version of the row was read
    stamped: bool
    #: rows that cannot be written, and why; then the lines are not to be sent
    faults: tuple[tuple[Row, RecordError], ...] = ()


def pack(shape: Shape, pairs: Sequence[Pair], stamps: Sequence[str] | None = None) -> Packed:
    """Keep the rows that differ, and make their lines. `stamps`: the version of each row as it was read."""
    return _by_column(shape, pairs, stamps) or _by_row(shape, pairs, stamps)


def _by_column(shape: Shape, pairs: Sequence[Pair], stamps: Sequence[str] | None) -> Packed | None:
    """Pack rows that all change the same columns, a column at a time: a third of the cost of row by row.

    None where they do not, or where something is wrong with one.
    """
    reads, changed = [read for read, _ in pairs], [changed for _, changed in pairs]
    names = list(reads[0]) if reads else []
    if any(set(map(len, rows)) - {len(names)} for rows in (reads, changed)):
        return None
    try:
        differing = _differing(names, reads, changed)
    except KeyError:
        return None
    columns = tuple(column for column in shape.columns if column.name in differing)
    marks = next(iter(differing.values()), [])
    if (
        len(columns) < len(differing)
        or any(column.generated or column in shape.key for column in columns)
        or any(other != marks for other in differing.values())
    ):
        return None
    reads, changed = list(compress(reads, marks)), list(compress(changed, marks))
    versions = list(compress(stamps, marks)) if stamps is not None else [LOCKED] * len(reads)
    made = Lines(columns)
    try:
        texts = [made.of_column(column, [row[column.name] for row in reads]) for column in shape.key]
        for column in columns:
            values = [row[column.name] for row in changed]
            if column.not_null and None in values:
                return None
            texts.append(made.of_column(column, values))
    except UNSENDABLE:
        return None
    masks = repeat("1" * len(columns))
    return Packed(
        columns=columns,
        rows=tuple(reads),
        lines=tuple(map("\t".join, zip(map(str, range(len(reads))), masks, versions, *texts, strict=False))),
        whole=True,
        stamped=stamps is not None,
    )


def _differing(names: Sequence[str], reads: Sequence[Row], changed: Sequence[Row]) -> dict[str, list[bool]]:
    """Return which rows differ in which columns; only columns in which some do."""
    found = {}
    for name in names:
        value_of = itemgetter(name)
        olds, news = list(map(value_of, reads)), list(map(value_of, changed))
        if not all(map(is_, olds, news)):
            marks = [not same(old, new) for old, new in zip(olds, news, strict=True)]
            if any(marks):
                found[name] = marks
    return found


def _by_row(shape: Shape, pairs: Sequence[Pair], stamps: Sequence[str] | None) -> Packed:
    found, faults = _changes(shape, pairs, stamps)
    kinds = {names for _, _, names, _ in found}
    written = set().union(*kinds)
    columns = tuple(column for column in shape.columns if column.name in written)
    whole = len({frozenset(names) for names in kinds}) <= 1
    lines: list[str] = []
    if not faults:
        keys, plain = Lines(shape.key), Lines(columns)
        masks = {names: mask_of(columns, set(names)) for names in kinds}
        for n, (read, changed, names, stamp) in enumerate(found):
            row = changed if whole else {**read, **changed}
            try:
                lines.append(f"{n}\t{masks[names]}\t{stamp}\t{keys.of(read)}\t{plain.of(row)}")
            except UNSENDABLE as problem:
                misfit = plain.misfit(shape, {**read, **changed}, problem)
                faults.append((misfit.row, misfit.error))
    return Packed(
        columns=columns,
        rows=tuple(read for read, _, _, _ in found),
        lines=tuple(lines),
        whole=whole,
        stamped=stamps is not None,
        faults=tuple(faults),
    )


def _changes(
    shape: Shape, pairs: Sequence[Pair], stamps: Sequence[str] | None
) -> tuple[list[Changed], list[tuple[Row, RecordError]]]:
    """Return the rows that differ, and those that must not be written."""
    found, faults = [], []
    required = {column.name for column in shape.columns if column.not_null}
    allowed: set[tuple[str, ...]] = set()
    for place, (read, changed) in enumerate(pairs):
        # Most values are the very ones that were read.
        names = tuple(
            [
                name
                for name, value in changed.items()
                if name not in read or (read[name] is not value and not same(read[name], value))
            ]
        )
        if not names:
            continue
        if names not in allowed:
            try:
                check_changed(shape, read, changed, names)
            except RecordError as problem:
                faults.append((read, problem))
                continue
            if required.isdisjoint(names):
                allowed.add(names)
        found.append((read, changed, names, stamps[place] if stamps is not None else LOCKED))
    return found, faults


def check_changed(shape: Shape, read: Row, changed: Row, names: Iterable[str]) -> None:
    """Raise RecordError for a row that changes what must not or cannot change."""
    for name in names:
        check_writable(shape, read, name)
    for column in shape.key:
        if column.name in names:
            raise fault(
                shape,
                read,
                f"its key column {column.name!r} was changed from {read.get(column.name)!r} "
                f"to {changed[column.name]!r}.",
                "leave the key as it is; copy to a new row instead.",
            )
    for column in shape.columns:
        if column.name in names and column.not_null and changed[column.name] is None:
            raise fault(shape, read, f"column {column.name!r} must not be null.", "return a value for it.")


def mask_of(columns: Sequence[Column], names: set[str]) -> str:
    return "".join("1" if column.name in names else "0" for column in columns)


def check_writable(shape: Shape, row: Row, name: str) -> str:
    """Return the name of a column that exists and is not generated; RecordError otherwise."""
    known = next((column for column in shape.columns if column.name == name), None)
    if known is None:
        raise fault(shape, row, unknown(shape, name), "name columns that the table has.")
    if known.generated:
        raise fault(
            shape, row, f"column {name!r} is generated by the server.", "change what it is made from."
        )
    return name


def unknown(shape: Shape, name: str) -> str:
    return f"the table has no column {name!r}.{meant(name, (column.name for column in shape.columns))}"
