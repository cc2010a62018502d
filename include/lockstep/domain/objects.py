"""An S3 object as a revision's functions see it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, kw_only=True)
class ObjectInfo:
    """What is known of an object without reading its body."""

    #: the whole key, prefix included
    key: str
    #: bytes
    size: int
    content_type: str = "application/octet-stream"
    #: custom metadata, without the `x-amz-meta-` prefix, lower-case names
    metadata: Mapping[str, str] = field(default_factory=dict)
    tags: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class StoredObject:
    """An object with its body; change it by `dataclasses.replace`."""

    key: str
    body: bytes
    content_type: str = "application/octet-stream"
    metadata: Mapping[str, str] = field(default_factory=dict)
    tags: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Seen:
    """An object as a store read it, with what that store knows of it besides."""

    what: ObjectInfo | StoredObject
    #: for the store alone
    state: Any
