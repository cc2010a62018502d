"""Turn documents into BSON and back without losing a bit, and `_id`s into text and back."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import timezone
from typing import Any

import bson
from bson import json_util
from bson.binary import UuidRepresentation
from bson.codec_options import CodecOptions, DatetimeConversion
from bson.errors import BSONError
from bson.raw_bson import RawBSONDocument

from lockstep.domain.errors import DataError

Document = dict[str, Any]

#: UUIDs stay Binary and dates beyond Python's range become DatetimeMS: what is untouched encodes to the same bytes.
DECODE: CodecOptions[Document] = CodecOptions(
    document_class=dict,
    tz_aware=True,
    tzinfo=timezone.utc,
    uuid_representation=UuidRepresentation.UNSPECIFIED,
    datetime_conversion=DatetimeConversion.DATETIME_AUTO,
)
#: The same, but a native UUID that an author writes is taken, as subtype 4.
ENCODE: CodecOptions[Document] = DECODE.with_options(uuid_representation=UuidRepresentation.STANDARD)

_TEXT = json_util.JSONOptions(
    json_mode=json_util.JSONMode.CANONICAL,
    tz_aware=True,
    tzinfo=timezone.utc,
    uuid_representation=UuidRepresentation.UNSPECIFIED,
    datetime_conversion=DatetimeConversion.DATETIME_AUTO,
)
#: A native UUID is written as the Binary that it becomes.
_TEXT_OUT = _TEXT.with_options(uuid_representation=UuidRepresentation.STANDARD)


#: BSON type of an `_id` → bytes of its value, where that is fixed
_FIXED = {0x01: 8, 0x07: 12, 0x08: 1, 0x09: 8, 0x10: 4, 0x11: 8, 0x12: 8, 0x13: 16}
#: BSON type → bytes beside the length that its value starts with
_MEASURED = {0x02: 4, 0x03: 0, 0x05: 5}
_ID = b"_id\0"


class Kept(Document):
    """A document together with its BSON, so that nobody encodes it again. It is not to be changed; copies may be."""

    __slots__ = ("raw",)

    raw: bytes

    def __deepcopy__(self, memo: object) -> Document:
        # Decoding again is several times as fast as copying value by value.
        return decode(self.raw)


class Raw(RawBSONDocument):
    """BSON that is sent as it is. The driver asks whether it is empty, and would decode all of it to know."""

    def __bool__(self) -> bool:
        return True


def keep(raw: bytes) -> Kept:
    """Return the document that `raw` is, with `raw`."""
    document = Kept(bson.decode(raw, codec_options=DECODE))
    document.raw = raw
    return document


def encode(document: Mapping[str, Any]) -> bytes:
    """Return a document's BSON as a server stores it, `_id` first; DataError names what has no BSON form."""
    return document.raw if type(document) is Kept else encode_anew(document)


def encode_anew(document: Mapping[str, Any]) -> bytes:
    """Return the BSON of a document's values, whatever it came from."""
    if "_id" in document and next(iter(document)) != "_id":
        document = {"_id": document["_id"], **document}
    try:
        return bson.encode(document, codec_options=ENCODE)
    except (BSONError, OverflowError, ValueError, TypeError) as problem:
        shown = key_text(document["_id"]) if "_id" in document else "without _id"
        raise DataError(
            f"document {shown} has no BSON form: {problem}. Write a value of a BSON type there.", key=shown
        ) from problem


def decode(raw: bytes) -> Document:
    return bson.decode(raw, codec_options=DECODE)


def id_bytes(raw: bytes) -> bytes:
    """Return the bytes of a document's `_id`, without decoding the rest where it comes first."""
    kind = raw[4]
    if raw[5:9] == _ID:
        if kind in _FIXED:
            return raw[4 : 9 + _FIXED[kind]]
        if kind in _MEASURED:
            return raw[4 : 9 + int.from_bytes(raw[9:13], "little") + _MEASURED[kind]]
    alone = {"_id": bson.decode(raw, codec_options=DECODE).get("_id")}
    return bson.encode(alone, codec_options=DECODE)[4:-1]


def id_of(value: Any) -> bytes:
    """Return what `id_bytes` finds in a document with this `_id`."""
    return bson.encode({"_id": value}, codec_options=ENCODE)[4:-1]


def key_text(document_id: Any) -> str:
    """Return an `_id` as canonical extended JSON, one to one."""
    if type(document_id) is str:
        return json.dumps(document_id, ensure_ascii=False)
    try:
        return json_util.dumps(document_id, json_options=_TEXT_OUT, ensure_ascii=False, separators=(",", ":"))
    except (BSONError, ValueError, TypeError) as problem:
        raise DataError(f"{document_id!r} cannot be an _id: {problem}.", key=repr(document_id)) from problem


def key_of(text: str) -> Any:
    """Return the `_id` that `key_text` wrote."""
    return json_util.loads(text, json_options=_TEXT)


def same_key(first: Any, second: Any) -> bool:
    return id_of(first) == id_of(second)


def as_json(value: Any, *, sort: bool = False) -> str:
    """Return any BSON value as canonical extended JSON."""
    text = json_util.dumps(value, json_options=_TEXT_OUT, ensure_ascii=False)
    return json.dumps(json.loads(text), sort_keys=True, ensure_ascii=False) if sort else text


def from_json(text: str) -> Any:
    """Return the value that `as_json` wrote, or mongodump."""
    return json_util.loads(text, json_options=_TEXT)


def plain(value: Any) -> Any:
    """Return a value with SON and other mappings as plain dicts."""
    if isinstance(value, Mapping):
        return {str(name): plain(held) for name, held in value.items()}
    if isinstance(value, list):
        return [plain(held) for held in value]
    return value
