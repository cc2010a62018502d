"""Custom metadata in S3, which takes ASCII headers only.

A value that is not plain ASCII is written as RFC 2047 encoded words (`=?utf-8?B?…?=`), the way S3 itself
shows such values; so is one that a header would trim or that looks like an encoded word. A name is
percent-encoded where it holds what a header's name cannot. Both are undone by `decode_metadata`.
"""

from __future__ import annotations

import base64
from collections.abc import Iterator, Mapping
from email.header import decode_header
from urllib.parse import quote, unquote

#: bytes in one encoded word: RFC 2047 allows 75 characters, encoded, with its frame
_WORD_BYTES = 45
#: characters of a header's name besides letters and digits; '%' marks an encoded one
_NAME_SAFE = "!#$&'*+-.^_`|~"


def encode_metadata(metadata: Mapping[str, str]) -> dict[str, str]:
    """Return metadata as S3 takes it."""
    return {quote(name, safe=_NAME_SAFE): _encode(value) for name, value in metadata.items()}


def decode_metadata(stored: Mapping[str, str]) -> dict[str, str]:
    """Return metadata as it was before `encode_metadata` (S3 turns names into lower case)."""
    return {unquote(name): _decode(value) for name, value in stored.items()}


def _encode(value: str) -> str:
    plain = value.isascii() and value.isprintable() and value == value.strip() and "=?" not in value
    return value if plain else " ".join(_words(value))


def _words(value: str) -> Iterator[str]:
    word = b""
    for character in value:
        encoded = character.encode("utf-8", "surrogatepass")
        if len(word) + len(encoded) > _WORD_BYTES:
            yield _frame(word)
            word = b""
        word += encoded
    yield _frame(word)


def _frame(word: bytes) -> str:
    return f"=?utf-8?B?{base64.b64encode(word).decode()}?="


def _decode(value: str) -> str:
    if "=?" not in value:
        return value
    parts = (
        part if isinstance(part, str) else part.decode(charset or "ascii", "surrogatepass")
        for part, charset in decode_header(value)
    )
    return "".join(parts)
