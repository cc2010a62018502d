"""Pack changes for the journal: BSON documents in a row, compressed."""

from __future__ import annotations

from collections.abc import Sequence

import bson
import zstandard
from bson.raw_bson import RawBSONDocument

from lockstep.domain.errors import DataError
from lockstep.domain.progress import Change
from lockstep.stores.mongo.codec import DECODE, encode


def pack(changes: Sequence[Change]) -> bytes:
    """Return the changes as zstandard-compressed BSON, one document a change."""
    squeeze = zstandard.ZstdCompressor(level=3).compressobj()
    packed = [squeeze.compress(_framed(change)) for change in changes]
    return b"".join([*packed, squeeze.flush()])


def _framed(change: Change) -> bytes:
    images = {
        name: None if image is None else RawBSONDocument(encode(image))
        for name, image in (("before", change.before), ("after", change.after))
    }
    return bson.encode({"key": change.key, **images})


def unpack(packed: bytes) -> list[Change]:
    """Return the changes that `pack` packed; DataError for anything else."""
    try:
        with zstandard.ZstdDecompressor().stream_reader(packed) as reader:
            framed = bson.decode_all(reader.read(), codec_options=DECODE)
        return [Change(key=one["key"], before=one["before"], after=one["after"]) for one in framed]
    except (zstandard.ZstdError, bson.errors.BSONError, KeyError) as problem:
        raise DataError(f"this is no batch of document changes: {problem}.") from problem
