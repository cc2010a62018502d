"""Read a copy's source, make the target's records, and compare the two sides."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from lockstep.domain.canonical import canonical, combined, content_hash
from lockstep.domain.errors import DataError, RecordError, VerificationFailed
from lockstep.domain.objects import StoredObject
from lockstep.domain.operations.base import function_name
from lockstep.domain.operations.copy import Copy
from lockstep.domain.progress import Cursor, KeyRange, Page
from lockstep.domain.resources import Collection, Prefix, Table
from lockstep.engine.conversion import default_map, for_documents, for_nested_rows, loses_time
from lockstep.engine.failing import Failing
from lockstep.engine.functions import call_map
from lockstep.engine.ports import TableUnit
from lockstep.engine.services import Services

#: kind of source → records that are read at once where no batch says how many
PAGES: dict[type, int] = {Table: 5000, Collection: 1000, Prefix: 50}
#: bytes of bodies that are held in memory at once, unless one object alone has more
BATCH_BYTES = 32 * 1024 * 1024


@dataclass(frozen=True, kw_only=True)
class Mapped:
    """What a page of the source becomes; source keys beside, for messages."""

    records: tuple[Any, ...]
    keys: tuple[Any, ...]
    #: records whose instants lost what is finer than a millisecond
    rounded: int = 0


@dataclass(frozen=True, kw_only=True)
class Agreement:
    """Both sides of a copy, counted and hashed by reading them again."""

    source_count: int
    target_count: int
    source_hash: str
    target_hash: str


class Copying:
    """One copy, over whatever kinds of resource it joins."""

    def __init__(self, services: Services, operation: Copy, unit: TableUnit | None = None) -> None:
        self.services = services
        self.operation = operation
        #: set inside a transaction, so that reads see what it has written
        self.unit = unit
        self.source_key = self._key_of(operation.source)
        self.target_key = self._key_of(operation.target)

    def _key_of(self, resource: object) -> tuple[str, ...]:
        if not isinstance(resource, Table):
            return ("_id",) if isinstance(resource, Collection) else ("key",)
        # Only the unit sees what its own transaction has made; it sees nothing of other databases.
        if self.unit is not None and resource.database == self.operation.target.database:
            return self.unit.keys_of(resource)
        store = self.services.tables(resource.database)
        store.require_key(resource)
        return store.keys_of(resource)

    def read(
        self,
        within: KeyRange,
        after: Cursor | None,
        limit: int | None = None,
        excluding: Sequence[Cursor] = (),
    ) -> Page:
        """Read the next records of the source, a page that fits memory by default; objects with their bodies."""
        operation = self.operation
        source = operation.source
        limit = limit or PAGES[type(source)]
        more: dict[str, Any] = {"within": within, "after": after, "limit": limit, "excluding": excluding}
        if isinstance(source, Table):
            if self.unit is not None and source.database == operation.target.database:
                return self.unit.read_locked(source, columns=None, where=operation.where, **more)
            return self.services.tables(source.database).read(
                source, columns=None, where=operation.where, **more
            )
        if isinstance(source, Collection):
            return self.services.documents(source.database).read(source, where=operation.where, **more)
        page = self.services.objects(source.database).read(
            source, suffix=operation.where or "", bodies=BATCH_BYTES, **more
        )
        return replace(page, records=tuple(seen.what for seen in page.records))

    def place(
        self, record: Any, position: int, within: KeyRange, after: Cursor | None, excluding: Sequence[Cursor]
    ) -> Cursor:
        """Return the place of a source's record, the one at this position of the page read after `after`."""
        source = self.operation.source
        if isinstance(source, Collection):
            return self.services.documents(source.database).cursor_of(record)
        if isinstance(source, Prefix):
            return self.services.objects(source.database).cursor_of(record.key)
        # A page that ends with the record: where the next one would go on is its place.
        cursor = self.read(within, after, position + 1, excluding).cursor
        assert cursor is not None
        return cursor

    def map(self, records: Sequence[Any], place: Callable[[Any, int], Cursor] | None = None) -> Mapped:
        """Make the target's records; raises RecordError naming the source's record.

        place: says where a record of the source is; with it, BadRecords names all that fail.
        """
        made, keys, rounded = [], [], 0
        failing = Failing(str(self.operation.source))
        for position, record in enumerate(records):
            key = self._identity(record)
            try:
                result = self._made(record, key)
                shaped = None if result is None else self._shaped(result, key)
            except DataError as problem:
                if place is None:
                    raise
                failing.add(key, place(record, position), problem)
                continue
            if shaped is None:
                continue
            rounded += isinstance(self.operation.target, Collection) and loses_time(result)
            made.append(shaped)
            keys.append(key)
        failing.check()
        return Mapped(records=tuple(made), keys=tuple(keys), rounded=rounded)

    def next(
        self, within: KeyRange, after: Cursor | None, limit: int, excluding: Sequence[Cursor]
    ) -> tuple[Page, Mapped]:
        """Read the next records of the source and map them; BadRecords names all that fail, and their places."""
        page = self.read(within, after, limit, excluding)

        def place(record: Any, position: int) -> Cursor:
            return self.place(record, position, within, after, excluding)

        return page, self.map(page.records, place)

    def _made(self, record: Any, key: Any) -> Any:
        operation = self.operation
        if operation.map is not None:
            return call_map(operation.map, record, str(operation.source), key)
        if isinstance(operation.source, Prefix) and isinstance(operation.target, Prefix):
            rest = record.key[len(operation.source.name) :]
            return StoredObject(
                key=operation.target.name + rest,
                body=record.body,
                content_type=record.content_type,
                metadata=record.metadata,
                tags=record.tags,
            )
        return default_map(record, operation.source, operation.target, self.source_key, self.target_key)

    def _identity(self, record: Any) -> Any:
        if isinstance(record, StoredObject):
            return record.key
        values = tuple(record[name] for name in self.source_key)
        return values[0] if len(values) == 1 else values

    def _shaped(self, result: Any, key: Any) -> Any:
        """Check what a map returned, and give it the types that the target holds."""
        operation = self.operation
        target = operation.target
        if isinstance(target, Prefix):
            if not isinstance(result, StoredObject):
                raise self._wrong(result, key, "a StoredObject")
            if not result.key.startswith(target.name):
                raise self._wrong(result.key, key, f"a StoredObject whose key starts with {target.name!r}")
            return result
        if not isinstance(result, dict):
            raise self._wrong(result, key, "a dict")
        missing = [name for name in self.target_key if result.get(name) is None]
        if missing:
            raise self._wrong(result, key, f"a dict with {', '.join(missing)}, the key of {target}")
        return for_documents(result) if isinstance(target, Collection) else for_nested_rows(result)

    def _wrong(self, result: Any, key: Any, wanted: str) -> RecordError:
        name = function_name(self.operation.map) if self.operation.map else "the default map"
        shown = repr(result)[:120]
        return RecordError(
            resource=str(self.operation.source),
            key=key,
            problem=f"{name} made {shown} of it.",
            fix=f"return {wanted}, or None to leave the record out.",
        )

    def target_key_text(self, record: Any) -> str:
        target = self.operation.target
        if isinstance(target, Prefix):
            return str(record.key)
        if isinstance(target, Collection):
            return self.services.documents(target.database).key_text(record["_id"])
        return repr(canonical([record[name] for name in self.target_key]))

    def fetch(self, records: Sequence[Any]) -> dict[str, Any]:
        """Read the target's records with these keys again, by key text."""
        target = self.operation.target
        if isinstance(target, Collection):
            store = self.services.documents(target.database)
            return dict(store.fetch(target, [record["_id"] for record in records]))
        if isinstance(target, Table):
            home = self.unit or self.services.tables(target.database)
            return {self.target_key_text(row): row for row in home.fetch(target, records)}
        found = self.services.objects(target.database).fetch([record.key for record in records])
        return {key: seen.what for key, seen in found.items()}

    def compare(self, within: KeyRange, excluding: Sequence[Cursor] = ()) -> Agreement:
        """Read both sides of a range again; VerificationFailed names the first record that differs.

        excluding: places of the source's records that were not carried.
        """
        counts = [0, 0]
        sums = [0, 0]
        cursor: Cursor | None = None
        last = False
        while not last:
            page = self.read(within, cursor, excluding=excluding)
            cursor, last = page.cursor if page.cursor is not None else cursor, page.last
            mapped = self.map(page.records)
            there = self.fetch(mapped.records)
            for record, key in zip(mapped.records, mapped.keys, strict=True):
                wanted = _comparable(record)
                found = there.get(self.target_key_text(record))
                counts[0] += 1
                sums[0] += content_hash(wanted)
                if found is None:
                    raise self._differs(key, "is not in the target")
                held = _comparable(found)
                if isinstance(held, dict) and isinstance(self.operation.target, Table):
                    held = {name: held.get(name) for name in wanted}
                if canonical(held) != canonical(wanted):
                    raise self._differs(key, f"differs in {', '.join(_differing(wanted, held))}")
                counts[1] += 1
                sums[1] += content_hash(held)
        return Agreement(
            source_count=counts[0],
            target_count=counts[1],
            source_hash=combined(sums[0]),
            target_hash=combined(sums[1]),
        )

    def _differs(self, key: Any, how: str) -> VerificationFailed:
        return VerificationFailed(
            f"{self.operation.title}: record {key!r} of {self.operation.source} {how}. "
            "Look at map= and at what else writes to the target.",
            key=str(key),
        )


def _comparable(record: Any) -> Any:
    if isinstance(record, StoredObject):
        return {
            "key": record.key,
            "body": record.body,
            "content_type": record.content_type,
            "metadata": dict(record.metadata),
            "tags": dict(record.tags),
        }
    return dict(record)


def _differing(wanted: Any, held: Any) -> list[str]:
    first, second = canonical(wanted), canonical(held)
    return [name for name in sorted({*first, *second}) if first.get(name) != second.get(name)] or [
        "its order"
    ]
