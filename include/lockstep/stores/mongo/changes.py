"""Say what becomes of a document, with its images encoded once and for all."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lockstep.domain.errors import DataError
from lockstep.domain.progress import Change
from lockstep.stores.mongo.codec import Kept, encode, encode_anew, key_text

#: bytes; MongoDB's limit of a document
LARGEST = 16 * 1024 * 1024


def change(before: Mapping[str, Any] | None, after: Mapping[str, Any]) -> Change | None:
    """Return the change of one document into another; None where the two are the same byte for byte.

    DataError for what has no BSON form, for what only an old form of BSON holds, and for a document that is
    larger than a server takes.
    """
    raw = encode(after)
    key = key_text(after["_id"])
    if before is not None:
        was = encode(before)
        if was == raw:
            return None
        if type(before) is Kept and (anew := encode_anew(before)) != was:
            if anew == raw:
                return None
            raise DataError(
                f"document {key} holds a field twice, or a value of a BSON type that is no longer in use (symbol, "
                "undefined or DBPointer), and cannot be carried. Rewrite that first.",
                key=key,
            )
    if len(raw) > LARGEST:
        raise DataError(f"document {key} {too_large(raw)}", key=key)
    return Change(key=key, before=before, after=_kept(after, raw))


def too_large(raw: bytes) -> str:
    return f"would be {len(raw):,} bytes, and MongoDB takes {LARGEST:,}. Make it smaller, or split it."


def _kept(document: Mapping[str, Any], raw: bytes) -> Kept:
    kept = Kept(document)
    kept.raw = raw
    return kept
