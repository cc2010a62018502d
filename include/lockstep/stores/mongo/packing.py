"""Pack changes for the journal: BSON documents in a row, compressed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import bson
import zstandard
from bson.raw_bson import RawBSONDocument

from lockstep.domain.errors import DataError
from lockstep.domain.progress import Change
from lockstep.stores.mongo.codec import DECODE, encode, keep

#: The images stay as they are within the frame.
_FRAMES = DECODE.with_options(document_class=RawBSONDocument)


def pack(changes: Sequence[Change]) -> bytes:
    """Return the changes as zstandard-compressed BSON, one document a change."""
    squeeze = zstandard.ZstdCompressor(level=3).compressobj()
    packed = [squeeze.compress(_framed(change)) for change in changes]
    return b"".join([*packed, squeeze.flush()])


def _framed(change: Change) -> bytes:
    """Return the BSON of {key, before, after}, put together around images that are BSON already."""
    key = change.key.encode() + b"\0"
    named = (b"\x02key\0", len(key).to_bytes(4, "little"), key)
    held = b"".join((*named, *_image(b"before\0", change.before), *_image(b"after\0", change.after)))
    return (len(held) + 5).to_bytes(4, "little") + held + b"\0"


def _image(name: bytes, image: Mapping[str, Any] | None) -> tuple[bytes, bytes, bytes]:
    return (b"\x0a", name, b"") if image is None else (b"\x03", name, encode(image))


def unpack(packed: bytes) -> list[Change]:
    """Return the changes that `pack` packed; DataError for anything else."""
    try:
        with zstandard.ZstdDecompressor().stream_reader(packed) as reader:
            framed = bson.decode_all(reader.read(), codec_options=_FRAMES)
        return [
            Change(key=one["key"], before=_kept(one["before"]), after=_kept(one["after"])) for one in framed
        ]
    except (zstandard.ZstdError, bson.errors.BSONError, KeyError) as problem:
        raise DataError(f"this is no batch of document changes: {problem}.") from problem


def _kept(image: RawBSONDocument | None) -> Mapping[str, Any] | None:
    return None if image is None else keep(bytes(image.raw))
