"""Confine a client to one prefix of a bucket: each key that it takes or gives is relative to that.

Keys are turned where botocore takes parameters and gives answers, so that whatever uses the client, a paginator,
a transfer or a revision's own code, is confined alike. Other buckets are left alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

#: operations that take a prefix of keys
_LISTING = frozenset({"ListObjects", "ListObjectsV2", "ListObjectVersions", "ListMultipartUploads"})
#: parameters and parts of answers that are a key or a prefix
_GIVEN = ("Key", "StartAfter", "Marker", "KeyMarker")
_TOLD = (*_GIVEN, "Prefix", "NextMarker", "NextKeyMarker")
#: lists in answers, and what in each of their items is a key or a prefix
_LISTS = {
    "Contents": "Key",
    "Versions": "Key",
    "DeleteMarkers": "Key",
    "Uploads": "Key",
    "Deleted": "Key",
    "Errors": "Key",
    "CommonPrefixes": "Prefix",
}


class Rooted:
    """Put a root before keys that go out, and take it off those that come back."""

    def __init__(self, bucket: str, root: str) -> None:
        self._bucket = bucket
        self._root = root

    def confine(self, client: Any) -> None:
        events = client.meta.events
        events.register("provide-client-params.s3", self._going_out)
        # Last: botocore decodes the keys of a listing in a handler of its own.
        events.register_last("after-call.s3", self._coming_back)

    def _going_out(self, params: Mapping[str, Any], model: Any, **more: Any) -> dict[str, Any]:
        given = dict(params)
        if given.get("Bucket") == self._bucket:
            for name in _GIVEN:
                if given.get(name):
                    given[name] = self._root + given[name]
            if model.name in _LISTING:
                given["Prefix"] = self._root + (given.get("Prefix") or "")
            if model.name == "DeleteObjects":
                objects = [{**one, "Key": self._root + one["Key"]} for one in given["Delete"]["Objects"]]
                given["Delete"] = {**given["Delete"], "Objects": objects}
        if "CopySource" in given:
            given["CopySource"] = self._source(given["CopySource"])
        return given

    def _source(self, source: str | Mapping[str, Any]) -> str | dict[str, Any]:
        if isinstance(source, Mapping):
            ours = source.get("Bucket") == self._bucket
            return {**source, "Key": self._root + source["Key"]} if ours else dict(source)
        bucket, _, key = source.removeprefix("/").partition("/")
        return f"{bucket}/{self._root}{key}" if bucket == self._bucket else source

    def _coming_back(self, parsed: dict[str, Any], **more: Any) -> None:
        for name in _TOLD:
            if isinstance(parsed.get(name), str):
                parsed[name] = parsed[name].removeprefix(self._root)
        for name, part in _LISTS.items():
            for item in parsed.get(name) or ():
                if isinstance(item.get(part), str):
                    item[part] = item[part].removeprefix(self._root)
