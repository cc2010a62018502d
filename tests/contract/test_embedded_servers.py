"""The embedded servers keep their data, and leave nothing running."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import boto3
import psutil
import psycopg
import pytest
from pymongo import MongoClient

from campus.data import submissions
from campus.fill import Targets, fill
from campus.shapes import Size
from lockstep.embedded import (
    RootInUseError,
    ServerFailedError,
    ServerMissingError,
    Servers,
    running,
    start,
    stop,
)

S3_ONLY = frozenset({"s3"})
ODD_KEYS = [
    "plain.txt",
    "with space.txt",
    "plus+and&equals=.txt",
    "percent%20literal",
    "hash#question?",
    "naïve/日本/🎒.txt",
    "a//b",
    "folder/",
    "../../../etc/passwd",
    "up/../down",
    "./dot",
    "quote\"and'apostrophe",
    "k" * 900,
]


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a root that has been started once, so that its cluster exists."""
    root = tmp_path_factory.mktemp("embedded")
    with running(root):
        pass
    return root


@contextmanager
def s3_client(servers: Servers) -> Iterator[Any]:
    client = boto3.client(
        "s3",
        endpoint_url=servers.s3_endpoint,
        region_name=servers.s3_region,
        aws_access_key_id=servers.s3_access_key,
        aws_secret_access_key=servers.s3_secret_key,
    )
    try:
        yield client
    finally:
        client.close()


def processes_below(root: Path) -> list[str]:
    """Return the command lines that name the root."""
    found = []
    for process in psutil.process_iter(["cmdline", "status"]):
        line = " ".join(process.info["cmdline"] or ())
        if (
            str(root) in line
            and process.info["status"] != psutil.STATUS_ZOMBIE
            and process.pid != os.getpid()
        ):
            found.append(line)
    return found


def wait_until_empty(root: Path, seconds: float = 15) -> list[str]:
    limit = time.monotonic() + seconds
    while (left := processes_below(root)) and time.monotonic() < limit:
        time.sleep(0.1)
    return left


def test_every_server_answers_and_stop_leaves_no_process(cluster: Path) -> None:
    with running(cluster) as servers:
        for database in ("campus_auth", "campus_api", "campus_admin", "campus_yapper", "airflow"):
            with psycopg.connect(servers.postgres_uri(database)) as connection:
                assert connection.info.server_version >= 180000
        with MongoClient[dict[str, Any]](servers.mongo_uri) as client:
            assert client.admin.command("ping")["ok"] == 1
        with s3_client(servers) as client:
            assert {one["Name"] for one in client.list_buckets()["Buckets"]} == {"campus", "lockstep-vault"}
        assert len(servers.children) == 3
        assert processes_below(cluster)
    assert processes_below(cluster) == []
    assert list((cluster / "run").iterdir()) == []


def test_a_wrong_password_is_refused(cluster: Path) -> None:
    with running(cluster, parts={"postgres"}) as servers:
        wrong = servers.postgres_uri("campus_auth").replace(servers.password, "wrong")
        with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
            psycopg.connect(wrong)
        assert servers.password not in repr(servers)
        assert (cluster / "postgres.password").stat().st_mode & 0o777 == 0o600
        assert not any(servers.password in line for line in processes_below(cluster))


def test_campus_data_survives_a_restart_and_is_left_alone(cluster: Path) -> None:
    size = Size(users=100, submissions=200, sessions=100, uploads=30)

    def filled(servers: Servers) -> dict[str, int | None]:
        with s3_client(servers) as client:
            targets = Targets(
                auth_uri=servers.postgres_uri("campus_auth"),
                yapper_uri=servers.postgres_uri("campus_yapper"),
                mongo_uri=servers.mongo_uri,
                s3_client=client,
            )
            return vars(fill(targets, size))

    with running(cluster) as servers:
        assert filled(servers) == {
            "users": 100,
            "sessions": 100,
            "submissions": 200,
            "uploads": 30,
            "subscriptions": 10,
        }
        before = witness(servers)
        assert before.count(":") >= 4
    with running(cluster) as servers:
        assert set(filled(servers).values()) == {None}
        assert witness(servers) == before
        with MongoClient[dict[str, Any]](servers.mongo_uri) as client:
            late = [document["_id"] for document in submissions(size)][-40:]
            client["campus"]["submissions"].delete_many({"_id": {"$in": late}})
        assert witness(servers) != before
        assert filled(servers)["submissions"] == 40  # as after a filling that was interrupted
        assert witness(servers) == before


def witness(servers: Servers) -> str:
    """Hash everything with the stand-alone program."""
    program = Path(__file__).parents[1] / "acceptance" / "independent.py"
    command = [
        *(sys.executable, str(program)),
        *("--postgres", servers.postgres_uri("campus_auth"), servers.postgres_uri("campus_yapper")),
        *("--mongo", servers.mongo_uri, "--db", "campus"),
        *("--s3-endpoint", servers.s3_endpoint, "--bucket", "campus"),
    ]
    keys = {"AWS_ACCESS_KEY_ID": servers.s3_access_key, "AWS_SECRET_ACCESS_KEY": servers.s3_secret_key}
    return subprocess.run(
        command, check=True, capture_output=True, text=True, env={**os.environ, **keys}
    ).stdout


def test_objects_survive_a_killed_server(tmp_path: Path) -> None:
    body = os.urandom(6 * 1024 * 1024)
    with running(tmp_path, parts=S3_ONLY) as servers, s3_client(servers) as client:
        put = {
            "Bucket": "campus",
            "ContentType": "text/x-odd",
            "Metadata": {"owner-id": "uid-1"},
            "Tagging": "a=b",
        }
        for key in ODD_KEYS:
            client.put_object(Key=key, Body=key.encode(), **put)
        client.put_object(Bucket="campus", Key="gone", Body=b"")
        client.delete_object(Bucket="campus", Key="gone")
        for key in ("multi 1", "multi/2"):
            client.put_object(Bucket="campus", Key=key, Body=b"")
        client.delete_objects(Bucket="campus", Delete={"Objects": [{"Key": "multi 1"}, {"Key": "multi/2"}]})
        client.put_object(Bucket="campus", Key="twice", Body=b"first")
        client.put_object(Bucket="campus", Key="twice", Body=b"second")
        client.copy_object(
            Bucket="campus", Key="copied", CopySource={"Bucket": "campus", "Key": "with space.txt"}
        )
        client.put_object_tagging(
            Bucket="campus", Key="twice", Tagging={"TagSet": [{"Key": "t", "Value": "1"}]}
        )
        client.create_bucket(Bucket="another-bucket")
        client.put_object(Bucket="another-bucket", Key="k", Body=b"v")
        client.create_bucket(Bucket="short-lived")
        client.delete_bucket(Bucket="short-lived")
        upload = client.create_multipart_upload(Bucket="campus", Key="parts", Metadata={"kind": "large"})[
            "UploadId"
        ]
        parts = [
            client.upload_part(Bucket="campus", Key="parts", UploadId=upload, PartNumber=number, Body=part)
            for number, part in ((1, body), (2, b"tail"))
        ]
        done = {"Parts": [{"PartNumber": n, "ETag": part["ETag"]} for n, part in enumerate(parts, 1)]}
        client.complete_multipart_upload(Bucket="campus", Key="parts", UploadId=upload, MultipartUpload=done)
        before = everything(client)
        assert {key for bucket, key in before if bucket == "campus"} == {
            *ODD_KEYS,
            "twice",
            "copied",
            "parts",
        }
        assert before["campus", "parts"]["etag"].endswith('-2"')
        assert before["campus", "twice"]["tags"] == [{"Key": "t", "Value": "1"}]
        assert before["campus", "copied"]["metadata"] == {"owner-id": "uid-1"}
        os.kill(servers.children[0].pid, signal.SIGKILL)
    with running(tmp_path, parts=S3_ONLY) as servers, s3_client(servers) as client:
        assert everything(client) == before
        assert client.get_object(Bucket="campus", Key="parts")["Body"].read() == body + b"tail"
        buckets = [one["Name"] for one in client.list_buckets()["Buckets"]]
        assert sorted(buckets) == ["another-bucket", "campus", "lockstep-vault"]
    outside = {path.name for path in tmp_path.iterdir()}
    assert outside <= {"s3", "run", "logs", "session.lock", "postgres.password"}


def everything(client: Any) -> dict[tuple[str, str], dict[str, Any]]:
    """Return all that a client can see of every object."""
    seen = {}
    for bucket in client.list_buckets()["Buckets"]:
        for listed in client.list_objects_v2(Bucket=bucket["Name"]).get("Contents", ()):
            where = {"Bucket": bucket["Name"], "Key": listed["Key"]}
            answer = client.get_object(**where)
            seen[bucket["Name"], listed["Key"]] = {
                "listed": {name: listed[name] for name in ("ETag", "LastModified", "Size")},
                "body": answer["Body"].read(),
                "etag": answer["ETag"],
                "modified": answer["LastModified"],
                "type": answer["ContentType"],
                "metadata": answer["Metadata"],
                "tags": client.get_object_tagging(**where)["TagSet"],
            }
    return seen


def test_concurrent_writers_of_one_key_leave_what_the_server_answers(tmp_path: Path) -> None:
    def write(number: int) -> None:
        client.put_object(Bucket="campus", Key="contended", Body=str(number).encode() * 2000)

    with running(tmp_path, parts=S3_ONLY) as servers, s3_client(servers) as client:
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(write, range(200)))
        before = everything(client)
    with running(tmp_path, parts=S3_ONLY) as servers, s3_client(servers) as client:
        assert everything(client) == before


def test_a_second_session_on_the_same_root_is_refused(tmp_path: Path) -> None:
    with running(tmp_path, parts=S3_ONLY), pytest.raises(RootInUseError, match="held by another session"):
        start(tmp_path, parts=S3_ONLY)


def test_a_taken_port_is_an_error_that_names_the_server_and_its_log(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(ServerFailedError, match=r"'s3' failed(.|\n)*s3\.log(.|\n)*in use") as caught:
            start(tmp_path, parts=S3_ONLY, ports={"s3": port})
    assert caught.value.name == "s3"
    assert processes_below(tmp_path) == []


def test_a_part_that_was_not_started_has_no_address(tmp_path: Path) -> None:
    with running(tmp_path, parts=S3_ONLY) as servers:
        with pytest.raises(ServerMissingError, match="'mongo' was not started"):
            _ = servers.mongo_uri
        assert set(servers.airflow_connections()) == {
            "AIRFLOW_CONN_CAMPUS_OBJECTS",
            "AIRFLOW_CONN_LOCKSTEP_VAULT",
        }


def test_a_stale_pid_of_somebody_else_is_not_touched(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "s3.json").write_text(f'{{"pid": {os.getpid()}, "command": []}}')
    with running(tmp_path, parts=S3_ONLY):
        pass
    assert psutil.pid_exists(os.getpid())


SESSION = """
import sys, time
from pathlib import Path
from lockstep.embedded import running
print("starting", flush=True)
with running(Path(sys.argv[1])):
    print("up", flush=True)
    time.sleep(600)
"""


@contextmanager
def session(root: Path) -> Iterator[subprocess.Popen[str]]:
    """Run a session in another process."""
    command = [sys.executable, "-c", SESSION, str(root)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def said(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


@pytest.mark.parametrize("delay", [0.05, 0.5, 1.2, 2.5])
def test_ctrl_c_in_the_middle_of_start_leaves_no_process(cluster: Path, delay: float) -> None:
    with session(cluster) as process:
        assert said(process) == "starting"
        time.sleep(delay)
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=30)
        assert process.returncode != 0
        assert processes_below(cluster) == []


def test_a_killed_session_takes_its_servers_with_it_and_the_next_one_starts(cluster: Path) -> None:
    with session(cluster) as process:
        assert [said(process), said(process)] == ["starting", "up"]
        process.kill()
        process.communicate()
        with running(cluster) as servers, psycopg.connect(servers.postgres_uri("campus_auth")):
            pass
    assert wait_until_empty(cluster) == []


def test_servers_that_outlived_their_session_are_ended_by_the_next_start(
    cluster: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = start(cluster)
    assert first.lock is not None
    first.lock.close()  # as if the session had died, on a system that does not tell its children
    with running(cluster) as second:
        for child in first.children:
            assert child.process.wait(5) is not None
        assert {child.pid for child in second.children}.isdisjoint(child.pid for child in first.children)
    assert processes_below(cluster) == []


def test_stop_ends_exactly_its_own(tmp_path: Path) -> None:
    one, other = start(tmp_path / "one", parts=S3_ONLY), start(tmp_path / "other", parts=S3_ONLY)
    try:
        stop(one)
        with s3_client(other) as client:
            assert client.list_buckets()["Buckets"]
    finally:
        stop(other)
    assert processes_below(tmp_path) == []
