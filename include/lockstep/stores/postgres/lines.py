"""Rows as lines of COPY's text format: made without a connection, so that another thread can make them."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import psycopg
from psycopg.adapt import PyFormat, Transformer

from lockstep.domain.errors import RecordError
from lockstep.stores.postgres.shape import Column, Shape
from lockstep.stores.postgres.text import shortened
from lockstep.stores.postgres.values import adapted, fault, holds_json

NULL = "\\N"

#: characters that COPY takes for something else, and the one that PostgreSQL's texts cannot hold
_SPECIALS = "\0\b\t\n\v\f\r\\"
_SPECIAL = re.compile(f"[{re.escape(_SPECIALS)}]").search
_ESCAPES = str.maketrans(
    {"\b": "\\b", "\t": "\\t", "\n": "\\n", "\v": "\\v", "\f": "\\f", "\r": "\\r", "\\": "\\\\"}
)

#: what psycopg and Python raise for a value that cannot be sent
UNSENDABLE = (psycopg.Error, ValueError, TypeError, OverflowError)


class Misfit(Exception):
    """A row that the server does not take, or that cannot be sent to it."""

    def __init__(self, row: Mapping[str, Any], error: RecordError) -> None:
        super().__init__(str(error))
        self.row = row
        self.error = error


class Lines:
    """Makes the text of values, column by column."""

    def __init__(self, columns: Sequence[Column]) -> None:
        self._columns = [(column.name, None if holds_json(column) else str, column) for column in columns]
        #: the column, where there is just one of plain values: a key, most often
        self._only = self._columns[0][0] if [plain for _, plain, _ in self._columns] == [str] else None
        self._transformer = Transformer()

    def of(self, row: Mapping[str, Any]) -> str:
        """Return a row's values, tabs between them; one of UNSENDABLE where a value has no text."""
        if self._only is not None:
            value = row.get(self._only)
            if type(value) is str and not _SPECIAL(value):
                return value
        parts = []
        for name, plain, column in self._columns:
            value = row.get(name)
            # Most values are strings that stand for themselves.
            if type(value) is plain and not _SPECIAL(value):
                parts.append(value)
            else:
                parts.append(self._text(column, value))
        return "\t".join(parts)

    def of_column(self, column: Column, values: Sequence[Any]) -> Sequence[str]:
        """Return the text of each value of one column."""
        kinds = set(map(type, values))
        if not holds_json(column):
            # One search for a character in all of them is many times faster than one in each.
            if kinds == {str} and not any(map("".join(values).__contains__, _SPECIALS)):
                return values
            if kinds == {int}:
                return list(map(str, values))
        return [
            value
            if type(value) is str and not _SPECIAL(value) and not holds_json(column)
            else self._text(column, value)
            for value in values
        ]

    def _text(self, column: Column, value: Any) -> str:
        if type(value) is int and not holds_json(column):
            return str(value)
        made = adapted(column, value)
        if made is None:
            return NULL
        # psycopg's own dumpers, for a NUL in a string too: they say what is wrong with it.
        dumped = self._transformer.get_dumper(made, PyFormat.TEXT).dump(made)
        return NULL if dumped is None else bytes(dumped).decode().translate(_ESCAPES)

    def misfit(self, shape: Shape, row: Mapping[str, Any], problem: Exception) -> Misfit:
        """Say which column's value it is that cannot be sent."""
        for name, _, column in self._columns:
            value = row.get(name)
            try:
                self._text(column, value).encode()
            except UNSENDABLE as why:
                return Misfit(
                    row,
                    fault(
                        shape,
                        row,
                        f"column {name!r} ({column.declared}) cannot take a value of type "
                        f"{type(value).__name__}: {shortened(str(why), 200)}.",
                        "return a value that fits the column's type.",
                    ),
                )
        said = f"{shortened(str(problem), 200)}."
        return Misfit(row, fault(shape, row, said, "return values that fit the columns' types."))
