"""Describe each collection that is in use: its options, validator and indexes, as text that can be compared."""

from __future__ import annotations

from lockstep.stores.mongo.codec import as_json, plain
from lockstep.stores.mongo.connection import Connection
from lockstep.stores.mongo.fingerprints import meaning, rules
from lockstep.stores.mongo.reading import is_own
from lockstep.stores.mongo.structure import indexes_of


def portrait(connection: Connection) -> dict[str, str]:
    """Return "collection <name>" → its definition, a line for each part of it."""
    named = connection.capabilities.keeps_index_names
    found: dict[str, str] = {}
    with connection.translate("reading what collections are"):
        for info in sorted(connection.db.list_collections(), key=lambda one: str(one["name"])):
            name, kind = str(info["name"]), str(info.get("type", "collection"))
            if is_own(name):
                continue
            options = rules(plain(info.get("options", {})))
            lines = [f"{part}: {as_json(value, sort=True)}" for part, value in sorted(options.items())]
            if kind != "view":
                indexes = [meaning(index, named=named) for index in indexes_of(connection, name)]
                lines += sorted(f"index: {as_json(index)}" for index in indexes)
            found[f"{kind} {name}"] = "\n".join(lines)
    return found
