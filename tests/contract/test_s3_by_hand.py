"""What the page on restoring by hand says of S3 is done as it stands there, by the AWS command line alone."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import uuid
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from independent import hash_s3
from s3_stores import a_store, keys_in, longest

from lockstep.domain.resources import Bucket, Everything, Prefix
from lockstep.stores.s3 import S3Store
from lockstep.stores.vault import S3Vault

PAGE = Path(__file__).resolve().parents[2] / "docs" / "restore-by-hand.md"
DATABASE = Bucket("campus_objects")
UPLOADS = Prefix(DATABASE, "uploads/")
FOLDER = "backups/0007-up-1/campus_objects/5f0c21aa"
PLAIN = ["uploads/with space +%20&=", "uploads/naïve/日本/🎒.txt", "uploads/~tilde!*()", "loose"]


def blocks(title: str) -> list[str]:
    """Return the commands of a section of the page, its headings left to the caller."""
    section = PAGE.read_text().split(f"{title}\n", 1)[1].split("\n##", 1)[0]
    found = re.findall(r"^```sh\n(.*?)^```$", section, re.MULTILINE | re.DOTALL)
    assert found
    return found


@pytest.fixture
def store(servers: Any) -> Iterator[S3Store]:
    with a_store(DATABASE, servers.s3_client_kwargs()) as made:
        yield made


@pytest.fixture
def vault(servers: Any, store: S3Store) -> Iterator[str]:
    """Return the name of a bucket for backups."""
    client, _ = store.handle()
    name = f"vault-{uuid.uuid4().hex[:12]}"
    client.create_bucket(Bucket=name)
    yield name
    for key in keys_in(client, name):
        client.delete_object(Bucket=name, Key=key)
    client.delete_bucket(Bucket=name)


@pytest.fixture
def empty(servers: Any, store: S3Store) -> Iterator[str]:
    """Return the name of an empty bucket."""
    client, _ = store.handle()
    name = f"empty-{uuid.uuid4().hex[:12]}"
    client.create_bucket(Bucket=name)
    yield name
    for key in keys_in(client, name):
        client.delete_object(Bucket=name, Key=key)
    client.delete_bucket(Bucket=name)


def fill(store: S3Store) -> None:
    client, bucket = store.handle()

    def put(key: str, body: bytes, **more: Any) -> None:
        client.put_object(Bucket=bucket, Key=key, Body=body, **more)

    for key in PLAIN:
        put(key, key.encode(), ContentType="text/x", Metadata={"n": "1"})
    put("uploads/tagged +", b"tagged", ContentType="image/png", Tagging="kind=avatar&to%20do=yes%2Fno")
    put(
        "uploads/headed",
        b"headed",
        CacheControl="no-store",
        ContentDisposition='attachment; filename="a b"',
        Expires="2030-01-02T03:04:05Z",
    )
    put("uploads/folder/", b"")
    put("uploads/large", bytes(range(256)) * 40_000, ContentType="video/mp4", Metadata={"by": "ada"})
    put(longest("uploads/", store, "l"), b"long", Metadata={"n": "2"})


def back_up(servers: Any, store: S3Store, vault: str, *resources: Any) -> None:
    with closing(S3Vault(servers.s3_client_kwargs(), vault)) as kept:
        kept.write_many(FOLDER, store.backup(resources))


def follow(servers: Any, commands: list[str], vault: str, bucket: str, folder: Path) -> None:
    """Run commands of the page as they stand there, with the two addresses that its first block exports."""
    program = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    kwargs = servers.s3_client_kwargs()
    there = {
        "PATH": program,
        "HOME": str(folder),
        "AWS_ENDPOINT_URL": kwargs["endpoint_url"],
        "AWS_ACCESS_KEY_ID": kwargs["aws_access_key_id"],
        "AWS_SECRET_ACCESS_KEY": kwargs["aws_secret_access_key"],
        "AWS_DEFAULT_REGION": kwargs["region_name"],
        "AWS_CONFIG_FILE": str(folder / "none"),
        "LC_ALL": "C.UTF-8",
        "VAULT": f"s3://{vault}/{FOLDER}",
        "BUCKET": bucket,
    }
    for block in commands:
        done = subprocess.run(
            ["bash", "-c", f"set -eo pipefail\n{block}"],
            cwd=folder,
            env=there,
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, f"{block}\n{done.stdout}\n{done.stderr}"


def test_the_addresses_are_what_the_page_exports_first() -> None:
    assert re.findall(r"^export (\w+)=", blocks("## S3")[0], re.MULTILINE) == ["VAULT", "BUCKET"]


def test_an_empty_bucket_becomes_what_the_backup_has(
    servers: Any, store: S3Store, vault: str, empty: str, tmp_path: Path
) -> None:
    fill(store)
    kwargs, bucket = servers.s3_client_kwargs(), store.handle()[1]
    back_up(servers, store, vault, Everything(DATABASE))
    sync, described = blocks("### Into an empty bucket")
    follow(servers, [sync], vault, empty, tmp_path)
    # Sync alone brings every body, as the page says.
    plain = S3Store(DATABASE, kwargs, empty)
    assert [plain.get(key) for key in PLAIN] == [store.get(key) for key in PLAIN]
    assert plain.get("uploads/large").body == store.get("uploads/large").body
    plain.close()
    follow(servers, [described], vault, empty, tmp_path)
    assert hash_s3(kwargs, empty) == hash_s3(kwargs, bucket)


def test_a_live_prefix_becomes_what_the_backup_has(
    servers: Any, store: S3Store, vault: str, tmp_path: Path
) -> None:
    fill(store)
    kwargs = servers.s3_client_kwargs()
    client, bucket = store.handle()
    before = hash_s3(kwargs, bucket)
    back_up(servers, store, vault, UPLOADS)
    client.put_object(Bucket=bucket, Key=PLAIN[0], Body=PLAIN[0].encode()[::-1], ContentType="text/y")
    client.put_object(Bucket=bucket, Key="uploads/tagged +", Body=b"other")
    client.put_object(Bucket=bucket, Key="uploads/since", Body=b"new")
    client.delete_object(Bucket=bucket, Key="uploads/folder/")
    client.delete_object(Bucket=bucket, Key=PLAIN[1])
    assert hash_s3(kwargs, bucket) != before
    _, described = blocks("### Into an empty bucket")
    follow(servers, [*blocks("### Back into the live bucket"), described], vault, bucket, tmp_path)
    assert hash_s3(kwargs, bucket) == before
