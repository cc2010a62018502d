"""The vault goes on where something broke, clears up what is left, and writes as its connection says."""

from __future__ import annotations

import json
import random
import subprocess
import sys
import uuid
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import boto3
import pytest
from botocore.exceptions import ClientError

from lockstep.domain.errors import DataError, Refused, Unavailable
from lockstep.domain.exchange import BackupPart
from lockstep.stores.vault import S3Vault, multipart, reading, removing

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
    for upload in unfinished(client, name):
        client.abort_multipart_upload(Bucket=name, Key=upload["Key"], UploadId=upload["UploadId"])
    for page in client.get_paginator("list_objects_v2").paginate(Bucket=name):
        for one in page.get("Contents", ()):
            client.delete_object(Bucket=name, Key=one["Key"])
    client.delete_bucket(Bucket=name)


@pytest.fixture
def vault(servers: Addresses, bucket: str) -> Iterator[S3Vault]:
    with closing(S3Vault(servers.s3_client_kwargs(), bucket)) as made:
        yield made


@pytest.fixture(autouse=True)
def waited(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Note pauses instead of making them."""
    pauses: list[float] = []
    monkeypatch.setattr(multipart.time, "sleep", pauses.append)
    return pauses


def unfinished(client: Any, bucket: str) -> list[Any]:
    found: list[Any] = client.list_multipart_uploads(Bucket=bucket).get("Uploads", [])
    return found


def large(name: str = "large", mib: int = 20) -> BackupPart:
    return BackupPart(name=name, holds="dump", chunks=lambda: (bytes([n]) * MIB for n in range(mib)))


def away(*_: Any, **__: Any) -> Any:
    answer: Any = {"Error": {"Code": "SlowDown"}, "ResponseMetadata": {"HTTPStatusCode": 503}}
    raise ClientError(answer, "UploadPart")


def test_a_part_that_fails_is_sent_again(
    vault: S3Vault, monkeypatch: pytest.MonkeyPatch, waited: list[float]
) -> None:
    calls: list[int] = []
    real = vault._place.client.upload_part

    def flaky(**given: Any) -> Any:
        calls.append(given["PartNumber"])
        return away() if calls.count(2) < 4 and given["PartNumber"] == 2 else real(**given)

    monkeypatch.setattr(vault._place.client, "upload_part", flaky)
    file = vault.write("large", large())
    assert vault.digest("large") == (file.size, file.sha256)
    assert calls.count(2) == 4
    assert waited == list(multipart.WAITS)


def test_the_end_of_an_upload_is_asked_for_again(vault: S3Vault, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[str] = []
    real = vault._place.client.complete_multipart_upload

    def flaky(**given: Any) -> Any:
        calls.append(given["Key"])
        return away() if len(calls) == 1 else real(**given)

    monkeypatch.setattr(vault._place.client, "complete_multipart_upload", flaky)
    file = vault.write("large", large())
    assert vault.digest("large") == (file.size, file.sha256)
    assert calls == ["large", "large"]


def test_a_server_that_stays_away_ends_it_and_nothing_of_it_stays(
    vault: S3Vault, client: Any, bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(vault._place.client, "upload_part", away)
    with pytest.raises(Unavailable):
        vault.write("large", large())
    assert unfinished(client, bucket) == []
    assert not vault.exists("large")


def test_what_is_refused_is_not_sent_again(
    vault: S3Vault, monkeypatch: pytest.MonkeyPatch, waited: list[float]
) -> None:
    def deny(**_: Any) -> Any:
        answer: Any = {"Error": {"Code": "AccessDenied"}, "ResponseMetadata": {"HTTPStatusCode": 403}}
        raise ClientError(answer, "UploadPart")

    monkeypatch.setattr(vault._place.client, "upload_part", deny)
    with pytest.raises(Refused):
        vault.write("large", large())
    assert waited == []


DYING = """
import json, os, sys
from lockstep.domain.exchange import BackupPart
from lockstep.stores.vault import S3Vault

def chunks():
    for number in range(40):
        if number == 30:
            os._exit(9)
        yield bytes(1024 * 1024)

S3Vault(json.loads(sys.argv[1]), sys.argv[2]).write_many("f", [BackupPart(name="a", holds="dump", chunks=chunks)])
"""


def test_an_upload_that_a_dead_process_left_is_aborted_by_the_next(
    vault: S3Vault, client: Any, bucket: str, servers: Addresses
) -> None:
    command = [sys.executable, "-c", DYING, json.dumps(servers.s3_client_kwargs()), bucket]
    assert subprocess.run(command).returncode == 9
    (left,) = unfinished(client, bucket)
    assert left["Key"] == "f/a"
    # Another folder's, and what only begins like it, are somebody else's.
    for key in ("g/a", "f2/a"):
        client.create_multipart_upload(Bucket=bucket, Key=key)
    (file,) = vault.write_many("f", [large("a")])
    assert vault.digest("f/a") == (file.size, file.sha256)
    assert sorted(one["Key"] for one in unfinished(client, bucket)) == ["f2/a", "g/a"]
    vault.write("g", large("g", 1))
    vault.write("f2/", large("f2/", 1))
    assert sorted(one["Key"] for one in unfinished(client, bucket)) == ["f2/a", "g/a"]
    vault.write("g/a", large("g/a", 1))
    assert [one["Key"] for one in unfinished(client, bucket)] == ["f2/a"]


@pytest.mark.parametrize(("code", "status"), [("NotImplemented", 400), ("AccessDenied", 403)])
def test_a_server_that_lists_no_uploads_is_written_to_all_the_same(
    vault: S3Vault, monkeypatch: pytest.MonkeyPatch, code: str, status: int
) -> None:
    def refuse(**_: Any) -> Any:
        answer: Any = {"Error": {"Code": code}, "ResponseMetadata": {"HTTPStatusCode": status}}
        raise ClientError(answer, "ListMultipartUploads")

    class Pages:
        paginate = staticmethod(refuse)

    monkeypatch.setattr(vault._place.client, "get_paginator", lambda name: Pages)
    assert vault.write("a", large("a", 1)).size == MIB


class Breaking:
    """A body that ends too early, a few times."""

    def __init__(self, body: Any, after: int) -> None:
        self._body, self._after = body, after

    def iter_chunks(self, size: int) -> Iterator[bytes]:
        for number, chunk in enumerate(self._body.iter_chunks(size)):
            if number == self._after:
                raise ConnectionError("reset by peer")
            yield chunk

    def close(self) -> None:
        self._body.close()


def breaking(vault: S3Vault, monkeypatch: pytest.MonkeyPatch, after: int, times: int) -> list[str]:
    asked: list[str] = []
    real = vault._place.client.get_object

    def get(**given: Any) -> Any:
        answer = real(**given)
        asked.append(given.get("Range", ""))
        if len(asked) <= times:
            answer["Body"] = Breaking(answer["Body"], after)
        return answer

    monkeypatch.setattr(vault._place.client, "get_object", get)
    return asked


def test_a_read_that_breaks_off_goes_on_there(
    vault: S3Vault, monkeypatch: pytest.MonkeyPatch, waited: list[float]
) -> None:
    body = random.Random(1).randbytes(9 * MIB + 5)
    vault.put("a", body)
    asked = breaking(vault, monkeypatch, after=2, times=4)
    assert b"".join(vault.read("a")) == body
    assert asked == ["", *(f"bytes={n * 2 * MIB}-" for n in range(1, 5))]
    # Each brought something, so that each was the first break in a row.
    assert waited == [reading.WAITS[0]] * 4


def test_a_read_that_brings_nothing_any_more_ends(vault: S3Vault, monkeypatch: pytest.MonkeyPatch) -> None:
    vault.put("a", bytes(3 * MIB))
    asked = breaking(vault, monkeypatch, after=0, times=100)
    with pytest.raises(Unavailable):
        list(vault.read("a"))
    assert len(asked) == 1


def test_a_body_that_is_another_one_meanwhile_is_not_pieced_together(
    vault: S3Vault, monkeypatch: pytest.MonkeyPatch
) -> None:
    vault.put("a", bytes(3 * MIB))
    breaking(vault, monkeypatch, after=1, times=1)
    stream = vault.read("a")
    next(stream)
    vault.put("a", b"\1" * 3 * MIB)
    with pytest.raises(DataError, match=r"PreconditionFailed|412"):
        list(stream)


def test_paths_are_those_below_a_folder_in_order(vault: S3Vault) -> None:
    paths = ["f/b", "f/a/1", "f/é", "f/🎒", "f/ﬀ", "f2/x", "e"]
    for path in paths:
        vault.put(path, b"")
    assert list(vault.paths("f")) == sorted((p for p in paths if p.startswith("f/")), key=str.encode)
    assert list(vault.paths("f/")) == list(vault.paths("f"))
    assert list(vault.paths("f/a")) == ["f/a/1"]
    assert list(vault.paths("")) == sorted(paths, key=str.encode)
    assert list(vault.paths("none")) == []


def test_more_paths_than_one_request_names_are_removed(
    vault: S3Vault, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(removing, "AT_ONCE", 3)
    for number in range(7):
        vault.put(f"f/{number}", b"")
    vault.put("g", b"")
    assert vault.remove(["f/gone", *vault.paths("f")]) == 8
    assert list(vault.paths("")) == ["g"]
    assert vault.remove([]) == 0
    assert vault.remove(iter(["g", "g"])) == 2


@pytest.mark.parametrize(("code", "kind"), [("AccessDenied", Refused), ("InternalError", DataError)])
def test_what_was_not_removed_is_named(
    vault: S3Vault, monkeypatch: pytest.MonkeyPatch, code: str, kind: type[Exception]
) -> None:
    errors = [{"Key": f"f/{n}", "Code": code} for n in range(7)]
    monkeypatch.setattr(vault._place.client, "delete_objects", lambda **_: {"Errors": errors})
    with pytest.raises(kind, match=rf"f/0 \({code}\).* and 2 more.*'lockstep_vault' may delete"):
        vault.remove(["f/0"])


def test_a_server_that_removes_one_by_one_only_is_asked_so(
    vault: S3Vault, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(3):
        vault.put(f"f/{number}", b"")

    def refuse(**_: Any) -> Any:
        raise ClientError({"Error": {"Code": "MissingContentMD5"}}, "DeleteObjects")

    monkeypatch.setattr(vault._place.client, "delete_objects", refuse)
    assert vault.remove(vault.paths("f")) == 3
    assert list(vault.paths("")) == []


def test_everything_is_written_as_the_connection_says(servers: Addresses, client: Any, bucket: str) -> None:
    said = {
        "ServerSideEncryption": "AES256",
        "StorageClass": "STANDARD_IA",
        "Tagging": "kept-by=lockstep&a=b%20c",
    }
    with closing(S3Vault(servers.s3_client_kwargs(), bucket, put_arguments=said)) as vault:
        vault.put("put", b"x", "text/plain")
        vault.write("small", large("small", 1))
        vault.write("large", large())
        vault.write_many("f", [large("small", 1), large("large")])
        assert vault.check()["bucket"] == bucket
    for path in ("put", "small", "large", "f/small", "f/large"):
        head = client.head_object(Bucket=bucket, Key=path)
        assert (head["ServerSideEncryption"], head["StorageClass"]) == ("AES256", "STANDARD_IA"), path
        tags = client.get_object_tagging(Bucket=bucket, Key=path)["TagSet"]
        assert {tag["Key"]: tag["Value"] for tag in tags} == {"kept-by": "lockstep", "a": "b c"}, path
    assert client.head_object(Bucket=bucket, Key="put")["ContentType"] == "text/plain"


def test_three_hundred_megabytes_take_less_than_a_hundred_of_memory(bucket: str, servers: Addresses) -> None:
    program = Path(__file__).with_name("vault_memory.py")
    command = [sys.executable, str(program), json.dumps(servers.s3_client_kwargs()), bucket, "300"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    told = json.loads(done.stdout)
    assert (told["size"], told["same"]) == (300 * MIB, True)
    assert told["grew"] < 100 * MIB
