"""The vault streams, measures, leaves nothing half-written and says what is wrong."""

from __future__ import annotations

import hashlib
import tracemalloc
import uuid
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from email.header import decode_header, make_header
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import TYPE_CHECKING, Any

import boto3
import pytest
from hypothesis import given
from hypothesis import strategies as some

from lockstep.domain.errors import DataError, LockstepError, Refused, Unavailable
from lockstep.domain.exchange import BackupPart
from lockstep.domain.progress import BackupFile
from lockstep.stores.vault import S3Vault, decode_metadata, encode_metadata
from lockstep.stores.vault.uploads import blocks

if TYPE_CHECKING:
    from addresses import Addresses

MIB = 1024 * 1024


@pytest.fixture
def client(servers: Addresses) -> Iterator[Any]:
    with closing(boto3.client("s3", **servers.s3_client_kwargs())) as made:  # type: ignore[call-overload]
        yield made


@pytest.fixture
def bucket(client: Any) -> Iterator[str]:
    name = f"test-{uuid.uuid4().hex[:12]}"
    client.create_bucket(Bucket=name)
    yield name
    for page in client.get_paginator("list_objects_v2").paginate(Bucket=name):
        for one in page.get("Contents", ()):
            client.delete_object(Bucket=name, Key=one["Key"])
    client.delete_bucket(Bucket=name)


@pytest.fixture
def vault(servers: Addresses, bucket: str) -> Iterator[S3Vault]:
    with closing(S3Vault(servers.s3_client_kwargs(), bucket)) as made:
        yield made


def a_part(*chunks: bytes, name: str = "a.bin", **more: Any) -> BackupPart:
    return BackupPart(name=name, holds="dump", chunks=lambda: iter(chunks), **more)


def keys(client: Any, bucket: str) -> list[str]:
    return [one["Key"] for one in client.list_objects_v2(Bucket=bucket).get("Contents", ())]


def unfinished(client: Any, bucket: str) -> list[Any]:
    found: list[Any] = client.list_multipart_uploads(Bucket=bucket).get("Uploads", [])
    return found


def sha256(body: bytes) -> str:
    return hashlib.sha256(body).hexdigest()


def test_check_writes_reads_and_deletes_a_probe(vault: S3Vault, client: Any, bucket: str) -> None:
    facts = vault.check()
    assert facts["bucket"] == bucket
    assert keys(client, bucket) == []


@pytest.mark.parametrize(
    "key",
    ["a", "a//b", "/a", "./a", "a/../b", "with space+plus%20&=?#", "naïve/日本/🎒", "a/", "k" * 900],
)
def test_keys_are_written_exactly_as_given(vault: S3Vault, client: Any, bucket: str, key: str) -> None:
    vault.put(key, b"body", "text/plain")
    assert keys(client, bucket) == [key]
    assert vault.get(key) == b"body"
    assert vault.exists(key)
    assert vault.digest(key) == (4, sha256(b"body"))
    assert vault.uri(key) == f"s3://{bucket}/{key}"
    assert client.head_object(Bucket=bucket, Key=key)["ContentType"] == "text/plain"


def test_a_small_part_is_written_and_measured(vault: S3Vault, client: Any, bucket: str) -> None:
    part = a_part(b"ab", b"", b"c", count=lambda: 3, content_type="text/csv", metadata={"by": "ada"})
    file = vault.write("folder/a.bin", part)
    assert file == BackupFile(path="folder/a.bin", size=3, sha256=sha256(b"abc"), holds="dump", count=3)
    head = client.head_object(Bucket=bucket, Key="folder/a.bin")
    assert (head["ContentType"], head["Metadata"]) == ("text/csv", {"by": "ada"})
    assert vault.digest("folder/a.bin") == (file.size, file.sha256)


def test_an_empty_part_is_an_empty_object(vault: S3Vault) -> None:
    assert vault.write("empty", a_part()).size == 0
    assert vault.get("empty") == b""


@pytest.mark.parametrize("size", [8 * MIB - 1, 8 * MIB, 8 * MIB + 1, 20 * MIB + 7])
def test_a_large_part_is_the_same_when_it_is_read_back(
    vault: S3Vault, client: Any, bucket: str, size: int
) -> None:
    pattern = bytes(range(251)) * (MIB // 251)
    body = (pattern * (size // len(pattern) + 1))[:size]
    chunks = [body[at : at + 3 * MIB + 11] for at in range(0, size, 3 * MIB + 11)]
    file = vault.write("large", a_part(*chunks, metadata={"by": "ada"}))
    assert (file.size, file.sha256) == (size, sha256(body))
    assert vault.digest("large") == (size, file.sha256)
    assert client.head_object(Bucket=bucket, Key="large")["Metadata"] == {"by": "ada"}
    assert unfinished(client, bucket) == []


@pytest.mark.parametrize("good", [0, 1, 20])
def test_a_source_that_fails_leaves_nothing_behind(
    vault: S3Vault, client: Any, bucket: str, good: int
) -> None:
    closed = []

    def failing() -> Iterator[bytes]:
        try:
            for _ in range(good):
                yield b"x" * MIB
            raise ZeroDivisionError
        finally:
            closed.append(True)

    part = BackupPart(name="a", holds="dump", chunks=failing)
    with pytest.raises(ZeroDivisionError):
        vault.write("broken", part)
    with pytest.raises(ZeroDivisionError):
        vault.write_many("folder", [part])
    assert keys(client, bucket) == []
    assert unfinished(client, bucket) == []
    assert closed == [True, True]


def test_memory_does_not_grow_with_the_part(vault: S3Vault) -> None:
    def stream() -> Iterator[bytes]:
        for number in range(256):
            yield bytes([number]) * (MIB // 4)

    vault.put("warm", b"up")
    tracemalloc.start()
    try:
        file = vault.write("streamed", BackupPart(name="a", holds="dump", chunks=stream))
        assert file.size == 64 * MIB
        assert vault.digest("streamed") == (file.size, file.sha256)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 48 * MIB


def test_many_parts_are_written_below_a_folder_in_order(vault: S3Vault, client: Any, bucket: str) -> None:
    parts = [a_part(str(n).encode() * n, name=f"objects/{n:03}") for n in range(60)]
    parts.insert(30, a_part(*[b"y" * MIB] * 17, name="large"))
    files = vault.write_many("backups/r1/", iter(parts))
    assert [file.path for file in files] == [f"backups/r1/{part.name}" for part in parts]
    assert sorted(keys(client, bucket)) == sorted(file.path for file in files)
    for file in files:
        assert vault.digest(file.path) == (file.size, file.sha256)


def test_each_part_is_read_before_the_next_is_asked_for(vault: S3Vault) -> None:
    said = []

    def chunks(n: int) -> Iterator[bytes]:
        said.append(f"read {n}")
        yield b"x"
        said.append(f"end {n}")

    def parts() -> Iterator[BackupPart]:
        said.append("snapshot")
        for n in range(2):
            yield BackupPart(name=str(n), holds="dump", chunks=lambda n=n: chunks(n), count=lambda n=n: n)
        said.append("snapshot gone")

    assert [file.count for file in vault.write_many("f", parts())] == [0, 1]
    assert said == ["snapshot", "read 0", "end 0", "read 1", "end 1", "snapshot gone"]


def test_writing_again_replaces(vault: S3Vault) -> None:
    vault.write("a", a_part(b"first"))
    assert vault.write("a", a_part(b"second")).size == 6
    assert vault.get("a") == b"second"


def test_an_object_that_is_not_there_is_named(vault: S3Vault) -> None:
    assert not vault.exists("gone")
    for read in (vault.get, vault.digest, lambda path: list(vault.read(path))):
        with pytest.raises(DataError, match=r"no object s3://test-.*/gone"):
            read("gone")


def test_metadata_that_is_not_ascii_survives(vault: S3Vault, client: Any, bucket: str) -> None:
    metadata = {
        "title": "Ünïcode 日本 🎒 " * 8,
        "plain": "a b",
        "padded": " x ",
        "looks": "=?x?=",
        "größe": "1",
    }
    vault.write("a", a_part(b"x", metadata=metadata))
    stored = client.head_object(Bucket=bucket, Key="a")["Metadata"]
    assert stored["plain"] == "a b"
    assert decode_metadata(stored) == metadata
    assert str(make_header(decode_header(stored["title"]))) == metadata["title"]


@given(some.dictionaries(some.text(min_size=1), some.text()))
def test_metadata_is_encoded_as_ascii_and_back(metadata: dict[str, str]) -> None:
    encoded = encode_metadata(metadata)
    assert all((name + value).isascii() and (name + value).isprintable() for name, value in encoded.items())
    assert decode_metadata(encoded) == metadata


@given(some.lists(some.binary(max_size=20)), some.integers(1, 7))
def test_blocks_have_their_size_and_the_same_bytes(chunks: list[bytes], size: int) -> None:
    cut = list(blocks(iter(chunks), lambda number: size))
    assert b"".join(cut) == b"".join(chunks)
    assert all(len(block) == size for block in cut[:-1])
    assert len(cut[-1]) <= size


EVERY_CALL: dict[str, Callable[[S3Vault], object]] = {
    "check": lambda vault: vault.check(),
    "write": lambda vault: vault.write("a", a_part(b"x")),
    "write large": lambda vault: vault.write("a", a_part(*[b"x" * MIB] * 9)),
    "write_many": lambda vault: vault.write_many("f", [a_part(b"x")]),
    "put": lambda vault: vault.put("a", b"x"),
    "get": lambda vault: vault.get("a"),
    "digest": lambda vault: vault.digest("a"),
    "exists": lambda vault: vault.exists("a"),
    "read": lambda vault: list(vault.read("a")),
    "paths": lambda vault: list(vault.paths("f")),
    "remove": lambda vault: vault.remove(["a", "b"]),
}


@pytest.mark.parametrize("call", EVERY_CALL)
def test_a_missing_bucket_is_refused_with_how_to_make_it(servers: Addresses, client: Any, call: str) -> None:
    vault = S3Vault(servers.s3_client_kwargs(), "no-such-bucket", conn_id="my_vault")
    how = r"my_vault.*aws s3 mb s3://no-such-bucket --endpoint-url http"
    with closing(vault), pytest.raises(Refused, match=how):
        EVERY_CALL[call](vault)
    assert "no-such-bucket" not in {one["Name"] for one in client.list_buckets()["Buckets"]}


@contextmanager
def answering(status: int, code: str) -> Iterator[S3Vault]:
    """Serve one answer to everything: what the embedded server never says."""

    class Answer(BaseHTTPRequestHandler):
        def answer(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length") or 0))
            body = f"<Error><Code>{code}</Code></Error>".encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body)

        do_GET = do_PUT = do_POST = do_HEAD = do_DELETE = answer  # noqa: N815

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Answer)
    Thread(target=server.serve_forever, daemon=True).start()
    try:
        with closing(a_vault_at(f"http://127.0.0.1:{server.server_port}")) as vault:
            yield vault
    finally:
        server.shutdown()
        server.server_close()


def a_vault_at(endpoint: str) -> S3Vault:
    from botocore.config import Config

    return S3Vault(
        {
            "endpoint_url": endpoint,
            "region_name": "auto",
            "aws_access_key_id": "key",
            "aws_secret_access_key": "hidden-secret",
            "config": Config(retries={"total_max_attempts": 1}),
        },
        "bucket",
    )


@pytest.mark.parametrize("call", EVERY_CALL)
@pytest.mark.parametrize(
    ("status", "code", "kind"),
    [
        (403, "InvalidAccessKeyId", Refused),
        (403, "SignatureDoesNotMatch", Refused),
        (403, "AccessDenied", Refused),
        (503, "SlowDown", Unavailable),
        (500, "InternalError", Unavailable),
        (400, "KeyTooLongError", DataError),
    ],
)
def test_what_a_server_answers_is_translated(
    call: str, status: int, code: str, kind: type[LockstepError]
) -> None:
    with answering(status, code) as vault, pytest.raises(kind, match="lockstep_vault") as caught:
        EVERY_CALL[call](vault)
    assert "hidden-secret" not in str(caught.value) + repr(vault)
    if kind is Refused:
        assert "Airflow connection 'lockstep_vault'" in str(caught.value)


@pytest.mark.parametrize("call", EVERY_CALL)
def test_a_server_that_is_down_is_unavailable(call: str) -> None:
    down = r"lockstep_vault, http://127\.0\.0\.1:1"
    with closing(a_vault_at("http://127.0.0.1:1")) as vault, pytest.raises(Unavailable, match=down):
        EVERY_CALL[call](vault)


def test_an_address_that_is_none_is_refused() -> None:
    with closing(a_vault_at("not a url")) as vault, pytest.raises(Refused, match="endpoint_url"):
        vault.check()
