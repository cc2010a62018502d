"""A dump is read by what knows nothing of Lockstep, and put into an empty server by the lines of the page."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import uuid
from collections.abc import Iterator
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import bson
import pytest
from bson import Int64, ObjectId
from bson.codec_options import CodecOptions
from bson.raw_bson import RawBSONDocument
from independent import hash_mongo
from pymongo import MongoClient

from lockstep.domain.resources import Everything, Mongo
from lockstep.embedded.servers import running
from lockstep.stores.mongo import MongoStore

PAGE = Path(__file__).resolve().parents[2] / "docs" / "restore-by-hand.md"
DATABASE = Mongo("campus_documents")


def lines_of_the_page() -> str:
    section = PAGE.read_text().split("## MongoDB\n", 1)[1].split("\n## ", 1)[0]
    (found,) = re.findall(r"^```python\n(.*?)^```$", section, re.MULTILINE | re.DOTALL)
    return str(found)


@pytest.fixture
def store(servers: Any) -> Iterator[MongoStore]:
    made = MongoStore(DATABASE, servers.mongo_uri, f"test_{uuid.uuid4().hex}")
    yield made
    made._connection.client.drop_database(made._connection.dbname)
    made.close()


def fill(store: MongoStore) -> None:
    db = store._connection.db
    db["teams"].insert_many(
        [{"_id": f"t{n:05}", "z": n, "a": {"y": [n, None, 1.5], "b": "é🎒"}} for n in range(2500)]
    )
    db["teams"].create_index([("z", 1)], unique=True)
    db["notes"].insert_many(
        [
            {"_id": ObjectId(), "at": datetime(2026, 1, 1, tzinfo=timezone.utc), "big": Int64(2**40)}
            for _ in range(3)
        ]
    )
    db.create_collection("empty")
    db["_lockstep_parked_x"].insert_one({"_id": 1})


def dumped(store: MongoStore, folder: Path) -> Path:
    """Write a backup below a folder, as `aws s3 cp --recursive` does."""
    for part in store.backup([Everything(DATABASE)]):
        file = folder / part.name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(b"".join(part.chunks()))
    (folder / "manifest.json").write_text("{}")
    return folder / store._connection.dbname


def test_a_dump_has_the_form_of_mongodump_s(store: MongoStore, tmp_path: Path) -> None:
    fill(store)
    folder = dumped(store, tmp_path)
    assert sorted(file.name for file in folder.iterdir()) == [
        f"{name}.{kind}" for name in ("empty", "notes", "teams") for kind in ("bson", "metadata.json")
    ]
    raw = CodecOptions(document_class=RawBSONDocument)
    for name in ("empty", "notes", "teams"):
        with (folder / f"{name}.bson").open("rb") as stream:
            read = sorted(bytes(one.raw) for one in bson.decode_file_iter(stream, raw))
        live = store._connection.db.get_collection(name, codec_options=raw)
        assert read == sorted(bytes(one.raw) for one in live.find())
        told = json.loads((folder / f"{name}.metadata.json").read_text())
        assert told["collectionName"] == name
        assert told["type"] == "collection"
        assert {"$numberInt": "1"} in [index["key"].get("_id") for index in told["indexes"]]
    unique = [index for index in told["indexes"] if "z" in index["key"]]
    assert [index["unique"] for index in unique] == [True]


def test_the_page_s_lines_bring_an_empty_server_to_what_it_was(store: MongoStore, tmp_path: Path) -> None:
    fill(store)
    name = store._connection.dbname
    backup = tmp_path / "backup" / "campus_documents"
    dumped(store, backup)
    with running(tmp_path / "server", parts={"mongo"}) as empty:
        with MongoClient(empty.mongo_uri) as client:
            assert client[name].list_collection_names() == []
        done = subprocess.run(
            [sys.executable, "-c", lines_of_the_page()],
            cwd=tmp_path,
            env={"PATH": os.environ["PATH"], "MONGO_URI": empty.mongo_uri},
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr
        assert hash_mongo(empty.mongo_uri, name) == hash_mongo(store._connection._uri, name)
        with MongoClient(empty.mongo_uri) as client:
            assert "_lockstep_parked_x" not in client[name].list_collection_names()
