"""Call a revision's own functions, and say which record they failed on."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from operator import itemgetter
from typing import Any
from uuid import UUID

from lockstep.domain.errors import LockstepError, RecordError
from lockstep.domain.objects import ObjectInfo, StoredObject
from lockstep.domain.operations.base import function_name

#: types of values that a copy may share
_UNCHANGEABLE = frozenset(
    (str, int, float, bool, type(None), bytes, Decimal, date, datetime, time, timedelta, UUID)
)


def _call(function: Callable[[Any], Any], record: Any, resource: str, key: object) -> Any:
    try:
        return function(record)
    except LockstepError:
        raise
    except Exception as problem:
        raise _raised(function, problem, resource, key) from problem


def _raised(function: Callable[[Any], Any], problem: Exception, resource: str, key: object) -> RecordError:
    return RecordError(
        resource=resource,
        key=key,
        problem=f"{function_name(function)}() raised {type(problem).__name__}: {problem}.",
        fix="mend the function or the record; what this run did is taken back.",
    )


def _wrong_type(
    function: Callable[[Any], Any], result: Any, wanted: str, resource: str, key: object
) -> RecordError:
    missing = " (is a return missing?)" if result is None else ""
    return RecordError(
        resource=resource,
        key=key,
        problem=f"{function_name(function)}() returned {type(result).__name__}{missing}.",
        fix=f"return {wanted}, changed or not.",
    )


def call_row(
    function: Callable[[dict[str, Any]], Mapping[str, Any]],
    row: Mapping[str, Any],
    key: Sequence[str],
    resource: str,
) -> dict[str, Any]:
    """Return the row that `function` makes of `row`: same key, no new columns.

    Columns that it leaves out keep their value. The function gets a copy that it may change in place.
    """
    try:
        result = function(_own(row))
    except LockstepError:
        raise
    except Exception as problem:
        raise _raised(function, problem, resource, _shown(row, key)) from problem
    return _checked(function, row, result, key, resource)


def call_rows(
    function: Callable[[dict[str, Any]], Mapping[str, Any]],
    rows: Sequence[dict[str, Any]],
    key: Sequence[str],
    resource: str,
) -> tuple[list[tuple[dict[str, Any], dict[str, Any]]], list[tuple[dict[str, Any], RecordError]]]:
    """Return each row with what `call_row` would make of it, and the rows on which it fails.

    The rows are of one query. What needs no look at each row is done for all of them at once.
    """
    pairs: list[tuple[dict[str, Any], dict[str, Any]]] = []
    failed: list[tuple[dict[str, Any], RecordError]] = []
    kinds = {kind for row in rows[:1] for name in row for kind in set(map(type, map(itemgetter(name), rows)))}
    own: Callable[[dict[str, Any]], dict[str, Any]] = dict if _UNCHANGEABLE.issuperset(kinds) else _own
    place = itemgetter(*key)
    for row, copied in zip(rows, map(own, rows), strict=True):
        try:
            try:
                result = function(copied)
            except LockstepError:
                raise
            except Exception as problem:
                raise _raised(function, problem, resource, _shown(row, key)) from problem
            # The very copy that it was given, most often: nobody else has it.
            kept = result is copied and result.keys() == row.keys() and place(result) == place(row)
            changed = copied if kept else _checked(function, row, result, key, resource)
        except RecordError as problem:
            failed.append((row, problem))
        else:
            pairs.append((row, changed))
    return pairs, failed


def _checked(
    function: Callable[..., Any], row: Mapping[str, Any], result: Any, key: Sequence[str], resource: str
) -> dict[str, Any]:
    """Return the row that a function returned, whole; RecordError for what is none."""
    if not isinstance(result, Mapping):
        raise _wrong_type(function, result, "the row as a dict", resource, _shown(row, key))
    changed = {**row, **result}
    if any(changed[column] != row[column] for column in key):
        raise RecordError(
            resource=resource,
            key=_shown(row, key),
            problem=f"{function_name(function)}() changed the primary key ({', '.join(key)}).",
            fix="leave the key as it is; to re-key records, copy them.",
        )
    if len(changed) == len(row):
        return changed
    unknown = sorted(set(changed) - set(row))
    raise RecordError(
        resource=resource,
        key=_shown(row, key),
        problem=f"{function_name(function)}() returned column(s) that were not read: {', '.join(unknown)}.",
        fix="name them in columns=[…], or leave them out.",
    )


def _own(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return a copy that may be changed in place, values within values included."""
    own = dict(row)
    if _UNCHANGEABLE.issuperset(map(type, own.values())):
        return own
    for name, value in row.items():
        if type(value) not in _UNCHANGEABLE:
            own[name] = copy.deepcopy(value)
    return own


def _shown(row: Mapping[str, Any], key: Sequence[str]) -> object:
    identity = tuple(row[column] for column in key)
    return identity[0] if len(identity) == 1 else identity


def call_document(
    function: Callable[[dict[str, Any]], Mapping[str, Any]], document: Mapping[str, Any], resource: str
) -> dict[str, Any]:
    """Return the document that `function` makes of `document`: same `_id`.

    The function gets a copy that it may change in place.
    """
    identity = document["_id"]
    result = _call(function, copy.deepcopy(document), resource, identity)
    if not isinstance(result, Mapping):
        raise _wrong_type(function, result, "the document as a dict", resource, identity)
    if "_id" not in result or result["_id"] != identity or type(result["_id"]) is not type(identity):
        raise RecordError(
            resource=resource,
            key=identity,
            problem=f"{function_name(function)}() changed _id.",
            fix="leave _id as it is; to re-key documents, copy them.",
        )
    return dict(result)


def call_object(
    function: Callable[[StoredObject], StoredObject], stored: StoredObject, resource: str
) -> StoredObject:
    """Return the object that `function` makes of `stored`: same key."""
    result = _call(function, stored, resource, stored.key)
    if not isinstance(result, StoredObject) or not isinstance(result.body, bytes):
        raise _wrong_type(function, result, "the StoredObject (its body as bytes)", resource, stored.key)
    _refuse_new_key(function, result.key, stored.key, resource)
    return result


def call_info(function: Callable[[ObjectInfo], ObjectInfo], info: ObjectInfo, resource: str) -> ObjectInfo:
    """Return the ObjectInfo that `function` makes of `info`: same key."""
    result = _call(function, info, resource, info.key)
    if not isinstance(result, ObjectInfo):
        raise _wrong_type(function, result, "the ObjectInfo", resource, info.key)
    _refuse_new_key(function, result.key, info.key, resource)
    return result


def _refuse_new_key(function: Callable[[Any], Any], given: str, key: str, resource: str) -> None:
    if given != key:
        raise RecordError(
            resource=resource,
            key=key,
            problem=f"{function_name(function)}() changed the key to {given!r}.",
            fix="leave the key as it is; ops.move_objects moves objects.",
        )


def call_key(function: Callable[[str], str], rest: str, resource: str) -> str:
    """Return the rest of a key that `function` makes of `rest`."""
    result = _call(function, rest, resource, rest)
    if not isinstance(result, str) or not result:
        raise _wrong_type(function, result, "the rest of the new key, as a string", resource, rest)
    return result


def call_map(function: Callable[[Any], Any], record: Any, resource: str, key: object) -> Any:
    """Return what a copy's `map` makes of a record; None leaves it out."""
    return _call(function, copy.deepcopy(record), resource, key)
