"""Open the client, once a store, when it is first needed; share it among a few threads."""

from __future__ import annotations

import contextlib
import threading
import weakref
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

import boto3
from botocore.config import Config

from lockstep.domain.errors import Refused
from lockstep.domain.resources import RESERVED, Bucket
from lockstep.stores.s3.capabilities import Capabilities, probe
from lockstep.stores.s3.errors import Translator
from lockstep.stores.s3.rooted import Rooted
from lockstep.stores.s3.throttle import Throttle

#: requests under way at once, over all threads of a store
WORKERS = 8
#: keys that start so are Lockstep's own
OWN = f"{RESERVED}/"

Given = TypeVar("Given")
Found = TypeVar("Found")


class Connection:
    """Hold the client, the bucket's name and what was found out about the server."""

    def __init__(
        self,
        database: Bucket,
        client_kwargs: Mapping[str, Any],
        bucket: str,
        *,
        root: str = "",
        read_only: bool = False,
    ) -> None:
        """`root`: the prefix that the client is confined to, and that all keys are relative to; it ends in '/'."""
        self.declared = database
        #: nothing may be written, not even to find out what the server can do
        self.read_only = read_only
        self.bucket = bucket
        self.root = root
        named = f"{bucket}/{root}" if root else bucket
        self.translate = Translator(database, named, client_kwargs.get("endpoint_url"))
        self._kwargs = dict(client_kwargs)
        # Threads share the store: what is read ahead is read in another one.
        self._lock = threading.RLock()
        self._client: Any = None
        self._capabilities: Capabilities | None = None
        self.throttle = Throttle(WORKERS)

    def below(self, root: str) -> Connection:
        """Return a connection to the same bucket that is confined to a prefix of it."""
        return Connection(self.declared, self._kwargs, self.bucket, root=root, read_only=self.read_only)

    @property
    def client(self) -> Any:
        with self._lock:
            if self._client is None:
                self._client = self._opened()
            return self._client

    def _opened(self) -> Any:
        # Checksums only where they are required: not every S3 server knows the newer ones.
        ours = Config(
            s3={"addressing_style": "path"},
            retries={"mode": "standard"},
            connect_timeout=10,
            # What lists or deletes many at once is not counted among the workers.
            max_pool_connections=WORKERS + 4,
            request_checksum_calculation="when_required",
            response_checksum_validation="when_required",
        )
        kwargs = dict(self._kwargs)
        given = kwargs.pop("config", None)
        with self.translate("opening it"):
            try:
                # A session of our own: boto3's default one is not safe to use from several threads.
                client = boto3.session.Session().client(
                    "s3", config=given.merge(ours) if given else ours, **kwargs
                )
            except ValueError:
                # From None: the driver quotes the address, which may hold a password.
                raise Refused(
                    f"The endpoint_url in the Airflow connection {self.declared.conn_id!r} is no address. "
                    "Mend its extra.",
                    conn_id=self.declared.conn_id,
                ) from None
        client.meta.events.register_first("needs-retry.s3", self.throttle.heard)
        if self.read_only:
            client.meta.events.register_first("before-call.s3", self._refuse_writes)
        if self.root:
            Rooted(self.bucket, self.root).confine(client)
        weakref.finalize(self, client.close)
        return client

    @property
    def capabilities(self) -> Capabilities:
        with self._lock:
            if self._capabilities is None:
                if self.read_only:
                    raise self._only_looked_at()
                with self.translate("asking what it can do"):
                    self._capabilities = probe(self.client, self.bucket)
            return self._capabilities

    def _refuse_writes(self, model: Any, **given: Any) -> None:
        if not model.name.startswith(("Get", "Head", "List")):
            raise self._only_looked_at()

    def _only_looked_at(self) -> Refused:
        return Refused(
            f"{self.translate.where} is only looked at here, and nothing is written to it, not even to find out what "
            "the server can do. Ask in a run that is no dry run.",
            conn_id=self.declared.conn_id,
        )

    def each(self, do: Callable[[Given], Found], given: Iterable[Given]) -> Iterator[Found]:
        """Do something for each, a few at a time, and yield what came of it in order.

        Give it a page at a time: all of it is under way at once. The first error ends it, when what is under
        way has ended.
        """
        with ThreadPoolExecutor(WORKERS, thread_name_prefix="lockstep-s3") as pool:
            running = [pool.submit(self._throttled, do, one) for one in given]
            try:
                for future in running:
                    yield future.result()
            finally:
                for future in running:
                    future.cancel()

    def _throttled(self, do: Callable[[Given], Found], one: Given) -> Found:
        with self.throttle:
            return do(one)

    def close(self) -> None:
        if self._client is not None:
            with contextlib.suppress(Exception):
                self._client.close()
