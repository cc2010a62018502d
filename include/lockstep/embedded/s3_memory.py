"""Mirror moto's in-memory S3 to files and back.

Every change of an object goes through one of a few methods of moto's backend. Each is wrapped to note which
key it touched; when the request is over, and before it is answered, the key's present state is written down.
Writing what *is* rather than what was asked makes the order of concurrent requests irrelevant.
"""

import functools
import hashlib
import threading
from collections.abc import Callable, Iterator
from datetime import datetime
from typing import Any

from moto.core.models import DEFAULT_ACCOUNT_ID
from moto.s3.models import FakeDeleteMarker, FakeKey, s3_backends

from lockstep.embedded.object_files import Header, ObjectFiles

#: Fields of moto's key that are plain JSON and are carried as they are.
PLAIN = (
    "checksum_algorithm",
    "checksum_parts",
    "checksum_type",
    "checksum_value",
    "encryption",
    "website_redirect_location",
)
BLOCK = 1024 * 1024
STRIPES = 64


class Memory:
    """Hold moto's backend beside its files."""

    def __init__(self, files: ObjectFiles) -> None:
        self._files = files
        self._backend: Any = s3_backends[DEFAULT_ACCOUNT_ID]["aws"]
        self._touched = threading.local()
        self._locks = [threading.Lock() for _ in range(STRIPES)]

    def load(self) -> None:
        """Bring every bucket and object back; before `watch`, as this is no change."""
        for header in self._files.buckets():
            bucket = self._backend.create_bucket(header["name"], header["region"])
            bucket.creation_date = datetime.fromisoformat(header["created"])
            for stored, body in self._files.objects(header["name"]):
                self._restore(header["name"], stored, body)

    def watch(self) -> None:
        """Note from now on what every request touches."""
        backend = self._backend
        for name in ("create_bucket", "delete_bucket"):
            self._wrap(name, lambda bucket_name, *_a, **_k: (bucket_name, None))
        for name in ("put_object", "delete_object", "delete_object_tagging"):
            self._wrap(name, lambda bucket_name, key_name, *_a, **_k: (bucket_name, key_name))
        self._wrap("put_object_tagging", lambda key, *_a, **_k: (key.bucket_name, key.name))
        # moto works an ETag out lazily, without the lock that guards the body: readers would disturb others.
        put = backend.put_object

        @functools.wraps(put)
        def put_with_etag(bucket_name: str, key_name: str, value: bytes, *args: Any, **kwargs: Any) -> Any:
            if len(args) < 2 and kwargs.get("etag") is None:
                kwargs["etag"] = hashlib.md5(value, usedforsecurity=False).hexdigest()
            return put(bucket_name, key_name, value, *args, **kwargs)

        backend.put_object = put_with_etag

    def begin(self) -> None:
        """Start a request of this thread."""
        self._touched.keys = {}

    def flush(self) -> None:
        """Write down what the request of this thread touched."""
        for bucket, key in self._touched.keys:
            stripe = self._locks[hash((bucket, key)) % STRIPES]
            with stripe:
                self._write_bucket(bucket) if key is None else self._write_object(bucket, key)
        self._touched.keys = {}

    def _wrap(self, name: str, target: Callable[..., tuple[str, str | None]]) -> None:
        method = getattr(self._backend, name)

        @functools.wraps(method)
        def noted(*args: Any, **kwargs: Any) -> Any:
            self._touched.keys[target(*args, **kwargs)] = True
            return method(*args, **kwargs)

        setattr(self._backend, name, noted)

    def _write_bucket(self, name: str) -> None:
        bucket = self._backend.buckets.get(name)
        if bucket is None:
            self._files.drop_bucket(name)
            return
        created = bucket.creation_date.isoformat()
        self._files.put_bucket(name, {"name": name, "region": bucket.region_name, "created": created})

    def _write_object(self, bucket: str, name: str) -> None:
        while True:
            holder = self._backend.buckets.get(bucket)
            key = None if holder is None else holder.keys.get(name)
            if key is None or isinstance(key, FakeDeleteMarker):
                self._files.drop_object(bucket, name)
                return
            try:
                self._files.put_object(bucket, name, self._header(key), _blocks(key))
            except ValueError:
                if not key.disposed:
                    raise
                continue  # replaced by another request while it was being read: write that one
            return

    def _header(self, key: Any) -> Header:
        tags = self._backend.tagger.get_tag_dict_for_resource(key.arn)
        return {
            "key": key.name,
            "etag": key.etag.strip('"'),
            "modified": key.last_modified.isoformat(),
            "metadata": dict(key.metadata),
            "storage_class": key.storage_class,
            "tags": tags,
            **{name: value for name in PLAIN if (value := getattr(key, name)) is not None},
        }

    def _restore(self, bucket: str, header: Header, body: bytes) -> None:
        key = self._backend.put_object(
            bucket,
            header["key"],
            body,
            storage=header["storage_class"],
            etag=header["etag"],
            disable_notification=True,
        )
        key.last_modified = datetime.fromisoformat(header["modified"])
        key.set_metadata(header["metadata"], replace=False)
        for name in PLAIN:
            if name in header:
                setattr(key, name, header[name])
        if header["tags"]:
            self._backend.put_object_tagging(key, header["tags"])


def _blocks(key: FakeKey) -> Iterator[bytes]:
    with key.lock:
        key._value_buffer.seek(0)
        while block := key._value_buffer.read(BLOCK):
            yield block
