"""Check the history's chain in the ledger, its archive in the vault, and one against the other."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field

from lockstep.domain.history import (
    BrokenLink,
    Entry,
    Head,
    Segment,
    broken_link,
    differing,
    head_of,
    seal,
    short,
)
from lockstep.engine.auditing.archiving import MOST
from lockstep.engine.auditing.segments import Line, Object, body_of, folder_of, head_in, lines_of, objects
from lockstep.engine.ports import Ledger, Vault

#: places, in the order in which they are looked at
LEDGER, ARCHIVE, BETWEEN = "ledger", "archive", "ledger and archive"


@dataclass(frozen=True, kw_only=True)
class Finding:
    """The first broken link of a place."""

    #: "ledger", "archive", or "ledger and archive"
    place: str
    #: the entry
    id: int
    #: the row, or the object and the line
    where: str
    #: the fields that differ, as far as they can be told
    fields: tuple[str, ...]
    problem: str

    def __str__(self) -> str:
        named = f" ({', '.join(self.fields)})" if self.fields else ""
        return f"{self.place}: entry {self.id}, {self.where}{named}: {self.problem}"


@dataclass(frozen=True, kw_only=True)
class Audit:
    """What a verification came to."""

    #: the ledger's head; None where the ledger was not looked at
    head: Head | None = None
    #: the archive's head; None where the archive was not looked at
    archived: Head | None = None
    objects: int = 0
    #: folders of other chains in the same vault
    others: tuple[str, ...] = ()
    findings: tuple[Finding, ...] = ()

    @property
    def holds(self) -> bool:
        return not self.findings


@dataclass
class _Reading:
    """How far the archive was read, and the first thing that is wrong with it and with the ledger beside it."""

    vault: Vault
    ledger: Ledger | None
    head: Head = field(default_factory=Head)
    #: id → hash of what was read, as far back as a segment that overlaps may begin
    known: dict[int, str] = field(default_factory=dict)
    broken: Finding | None = None
    differs: Finding | None = None


def verify(ledger: Ledger | None, vault: Vault | None, *, chain: str | None = None) -> Audit:
    """Return the first broken link of the ledger, of the archive, and of one against the other.

    With one of them alone, that one. `chain`: the archive's folder, where the ledger does not tell which.
    """
    head = ledger.history_head() if ledger else None
    broken = ledger.broken_link() if ledger else None
    if vault is None:
        return Audit(head=head, findings=_some(_in_ledger(ledger, broken, None)))
    listed = ledger.segments() if ledger else []
    reading = _Reading(vault=vault, ledger=ledger)
    found = _objects(vault, ledger, listed, chain)
    _missing_object(reading, listed, {one.path for one in found})
    for one in found:
        _read(reading, one, {segment.path: segment for segment in listed})
    others = tuple(one for one in chains(vault) if one not in {known.chain for known in found})
    if ledger is not None and reading.differs is None and head is not None:
        _missing_rows(reading, head, found)
        _another_chain(reading, head, found, others)
    return Audit(
        head=head,
        archived=reading.head,
        objects=len(found),
        others=others,
        findings=_some(_in_ledger(ledger, broken, reading), reading.broken, reading.differs),
    )


def _some(*findings: Finding | None) -> tuple[Finding, ...]:
    return tuple(finding for finding in findings if finding is not None)


def chains(vault: Vault) -> list[str]:
    """Return the folders of the chains that a vault holds."""
    return sorted({one.chain for one in objects(vault)})


def _objects(vault: Vault, ledger: Ledger | None, listed: list[Segment], chain: str | None) -> list[Object]:
    if chain is None and listed:
        chain = listed[0].path.split("/")[1]
    if chain is None and ledger is not None:
        first = ledger.entries(0, 1)
        chain = folder_of(str(first[0]["hash"])).split("/")[1] if first else None
    return objects(vault, chain)


def _in_ledger(ledger: Ledger | None, broken: BrokenLink | None, reading: _Reading | None) -> Finding | None:
    """Say what is wrong in the ledger; what the archive says of that entry tells which field was changed."""
    if ledger is None or broken is None:
        return None
    fields: tuple[str, ...] = (broken.field,)
    problem = broken.problem
    row = _row(ledger, broken.id)
    line = None if reading is None else _line_of(reading, broken.id)
    if row is not None and line is not None and line.entry is not None:
        fields = tuple(differing(row, line.entry)) or fields
        problem += f"; {_in_words(row, line.entry, fields)} ({_place(line)})"
    return Finding(
        place=LEDGER,
        id=broken.id,
        where=f"row {broken.id} of _migration_history",
        fields=fields,
        problem=problem,
    )


def _row(ledger: Ledger, number: int) -> Entry | None:
    found = ledger.entries(number - 1, 1)
    return found[0] if found and found[0]["id"] == number else None


def _line_of(reading: _Reading, number: int) -> Line | None:
    """Return the archived line of an entry, where it is sealed as it must be."""
    chain = {segment.path for segment in reading.ledger.segments()} if reading.ledger else set()
    for one in objects(reading.vault):
        if one.first <= number <= one.last and (not chain or one.path in chain):
            for line in lines_of(one.path, body_of(reading.vault, one.path) or b""):
                entry = line.entry
                if entry is not None and entry["id"] == number and entry["hash"] == seal(entry):
                    return line
    return None


def _missing_object(reading: _Reading, listed: list[Segment], there: set[str]) -> None:
    for segment in listed:
        if segment.path not in there:
            reading.broken = Finding(
                place=ARCHIVE,
                id=segment.first,
                where=segment.path,
                fields=(),
                problem=f"the object with entries {segment.first} to {segment.head.id} is gone, and the ledger says "
                "that it was written. Bring it back from the bucket's versions",
            )
            return


def _read(reading: _Reading, one: Object, listed: Mapping[str, Segment]) -> None:
    """Read an object on from where the archive was read to, and compare its lines with the ledger's rows."""
    body = body_of(reading.vault, one.path)
    if body is None:
        return
    reading.known = {number: hash_ for number, hash_ in reading.known.items() if number >= one.first}
    entries: list[tuple[Line, Entry]] = []
    for line in lines_of(one.path, body):
        if line.problem:
            _breaks(reading, line, one.first + line.number - 1, (), line.problem)
        elif line.entry is not None:
            _follow(reading, line, line.entry)
            entries.append((line, line.entry))
    _compare(reading, one, entries)
    _check_object(reading, one, body, listed.get(one.path), entries)


def _follow(reading: _Reading, line: Line, entry: Entry) -> None:
    number = entry["id"]
    if number in reading.known and number <= reading.head.id:
        # A segment that overlaps with one before: the same lines.
        before = Head(id=number - 1, hash=reading.known.get(number - 1, str(entry["prev_hash"])))
        broken = broken_link(entry, before)
        if broken is None and entry["hash"] != reading.known[number]:
            broken = BrokenLink(
                id=number, field="hash", problem="another object has another entry of this id"
            )
        if broken is not None:
            _breaks(reading, line, number, (broken.field,), broken.problem, entry)
        return
    broken = broken_link(entry, reading.head)
    if broken is not None:
        _breaks(reading, line, broken.id, (broken.field,), broken.problem, entry)
    if number > reading.head.id:
        reading.head = head_of(entry)
        reading.known[number] = str(entry["hash"])


def _breaks(
    reading: _Reading,
    line: Line,
    number: int,
    fields: tuple[str, ...],
    problem: str,
    entry: Entry | None = None,
) -> None:
    """Keep the first broken line; what the ledger says of that entry tells which field was changed."""
    if reading.broken is not None:
        return
    row = _row(reading.ledger, number) if reading.ledger else None
    if row is not None and entry is not None and entry["id"] == number:
        fields = tuple(differing(row, entry)) or fields
        problem += f"; {_in_words(row, entry, fields)}"
    reading.broken = Finding(place=ARCHIVE, id=number, where=_place(line), fields=fields, problem=problem)


def _compare(reading: _Reading, one: Object, entries: list[tuple[Line, Entry]]) -> None:
    """Compare lines with the rows of the same ids."""
    if reading.ledger is None or reading.differs is not None or not entries:
        return
    count = min(one.last - one.first + 1, 10 * MOST)
    rows = {row["id"]: row for row in reading.ledger.entries(one.first - 1, count)}
    for line, entry in entries:
        number = entry["id"]
        row = rows.get(number)
        if row is None:
            reading.differs = Finding(
                place=BETWEEN,
                id=number,
                where=_place(line),
                fields=("id",),
                problem="the archive has this entry, and the ledger has no such row",
            )
            return
        fields = tuple(differing(row, entry))
        if fields:
            reading.differs = Finding(
                place=BETWEEN,
                id=number,
                where=f"row {number} of _migration_history and {_place(line)}",
                fields=fields,
                problem=_in_words(row, entry, fields),
            )
            return


def _check_object(
    reading: _Reading, one: Object, body: bytes, listed: Segment | None, entries: list[tuple[Line, Entry]]
) -> None:
    """See that an object holds what its name, its last line and the ledger say, to the byte."""
    if reading.broken is not None:
        return
    ids = [entry["id"] for _, entry in entries]
    wrong = ""
    if ids != list(range(one.first, one.last + 1)):
        wrong = f"it does not hold entries {one.first} to {one.last}, one after another, as its name says"
    elif head_in(body) != head_of(entries[-1][1]):
        wrong = (
            f"its last line does not say that it ends at entry {one.last}, {short(entries[-1][1]['hash'])}"
        )
    elif listed is not None and hashlib.sha256(body).hexdigest() != listed.sha256:
        wrong = "its entries are right, and its bytes are not those that were written"
    if wrong:
        reading.broken = Finding(place=ARCHIVE, id=one.last, where=one.path, fields=(), problem=wrong)


def _missing_rows(reading: _Reading, head: Head, found: list[Object]) -> None:
    """Say so where the archive goes further than the ledger."""
    if reading.ledger is not None and reading.head.id > head.id:
        # A run may have ended since: what it archived was in the ledger before.
        head = reading.ledger.history_head()
    if reading.head.id > head.id and found:
        reading.differs = Finding(
            place=BETWEEN,
            id=head.id + 1,
            where=f"row {head.id + 1} of _migration_history",
            fields=("id",),
            problem=f"the ledger ends at entry {head.id}, and the archive goes on to {reading.head.id}",
        )


def _another_chain(reading: _Reading, head: Head, found: list[Object], others: tuple[str, ...]) -> None:
    """Say so where the vault holds a history, and nothing of this ledger's."""
    if head.id and not found and others:
        reading.differs = Finding(
            place=BETWEEN,
            id=1,
            where="row 1 of _migration_history",
            fields=("hash",),
            problem=f"the vault holds no chain that begins with this entry, and {', '.join(others)} beside it: either "
            "the ledger was made anew, or its first entry is another one",
        )


def _place(line: Line) -> str:
    return f"{line.path}, line {line.number}"


def _in_words(row: Entry, archived: Entry, fields: tuple[str, ...]) -> str:
    """Say what the first field that differs has here and there."""
    shown = [name for name in fields if name not in ("hash", "prev_hash")] or list(fields)
    if not shown:
        return "no field differs"
    name = shown[0]
    return f"{name} is {_value(row, name)} in the ledger, and {_value(archived, name)} in the archive"


def _value(entry: Entry, name: str) -> str:
    value = entry.get(name)
    if name.startswith("detail."):
        detail = entry.get("detail")
        value = detail.get(name.removeprefix("detail."), "missing") if isinstance(detail, Mapping) else detail
    text = repr(value)
    return text if len(text) <= 120 else f"{text[:120]}…"
