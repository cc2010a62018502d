"""Custom metadata in S3, which takes ASCII headers only.

A value that is not plain ASCII is written as RFC 2047 encoded words (`=?utf-8?B?…?=`), the way S3 itself
shows such values; so is one that a header would trim or that looks like an encoded word. In a name, what is
no letter, digit, '.', '-' or '_' is written byte by byte as `__` and two hexadecimal digits, and so is the
first of two '_'. Both are undone by `decode_metadata`.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Iterator, Mapping
from email.header import decode_header

#: bytes in one encoded word: RFC 2047 allows 75 characters, encoded, with its frame
_WORD_BYTES = 45
_NOT_IN_NAMES = re.compile(r"[^A-Za-z0-9._-]|_(?=_)")
_ESCAPED = re.compile(r"(?:__[0-9a-f]{2})+")


def encode_metadata(metadata: Mapping[str, str]) -> dict[str, str]:
    """Return metadata as S3 takes it."""
    return {_NOT_IN_NAMES.sub(_escape, name): _encode(value) for name, value in metadata.items()}


def decode_metadata(stored: Mapping[str, str]) -> dict[str, str]:
    """Return metadata as it was before `encode_metadata` (S3 turns names into lower case)."""
    return {_ESCAPED.sub(_unescape, name): _decode(value) for name, value in stored.items()}


def _escape(found: re.Match[str]) -> str:
    return "".join(f"__{byte:02x}" for byte in found[0].encode("utf-8", "surrogatepass"))


def _unescape(found: re.Match[str]) -> str:
    return bytes.fromhex(found[0].replace("__", "")).decode("utf-8", "surrogatepass")


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
