"""The vault's bucket and how it is reached."""

from __future__ import annotations

import os
import threading
from collections.abc import Mapping
from contextlib import AbstractContextManager
from typing import Any

import boto3
from botocore.config import Config

from lockstep.domain.errors import DataError
from lockstep.stores.vault.errors import no_bucket, translated

# Servers other than Amazon's do not all know the checksums that new clients send unasked. What we write is
# read back and compared, so nothing is lost by asking for them only where S3 requires it.
_CONFIG = Config(
    connect_timeout=10,
    read_timeout=60,
    retries={"mode": "standard", "max_attempts": 5},
    max_pool_connections=16,
    tcp_keepalive=True,
    request_checksum_calculation="when_required",
    response_checksum_validation="when_required",
)


class Place:
    """A client, opened when it is first needed, and the bucket's name."""

    def __init__(self, client_kwargs: Mapping[str, Any], bucket: str, conn_id: str) -> None:
        self.bucket = bucket
        self.conn_id = conn_id
        self._kwargs = dict(client_kwargs)
        self._lock = threading.Lock()
        self._made: tuple[int, Any] | None = None

    @property
    def endpoint(self) -> str:
        return str(self._kwargs.get("endpoint_url") or "Amazon S3")

    @property
    def client(self) -> Any:
        """The process's client: sockets are not shared across a fork."""
        with self._lock:
            if self._made is None or self._made[0] != os.getpid():
                given = dict(self._kwargs)
                config = _CONFIG.merge(given.pop("config", None) or Config())
                # A session of our own: boto3's default one is not safe to use from several threads.
                client = boto3.session.Session().client("s3", **given, config=config)
                self._made = (os.getpid(), client)
            return self._made[1]

    def close(self) -> None:
        with self._lock:
            if self._made is not None and self._made[0] == os.getpid():
                self._made[1].close()
            self._made = None

    def translated(self, path: str) -> AbstractContextManager[None]:
        return translated(self.conn_id, self.endpoint, self.bucket, path)

    def require_bucket(self) -> None:
        try:
            with self.translated(""):
                self.client.head_bucket(Bucket=self.bucket)
        except DataError as error:
            raise no_bucket(self.conn_id, self.endpoint, self.bucket) from error
