"""Airflow's connections, as the drivers are given them."""

from __future__ import annotations

import json
from typing import Any

import pytest

from lockstep.domain.errors import Refused


def connection(conn_type: str, **given: Any) -> Any:
    from airflow.sdk import Connection

    extra = given.pop("extra", None)
    return Connection(
        conn_id="some_db", conn_type=conn_type, extra=json.dumps(extra) if extra else None, **given
    )


def conninfo(**given: Any) -> dict[str, str]:
    """Return the connection string as libpq reads it."""
    from psycopg.conninfo import conninfo_to_dict

    from lockstep.orchestration.connections import postgres_conninfo

    read = conninfo_to_dict(postgres_conninfo(connection("postgres", **given)))
    return {name: str(value) for name, value in read.items()}


def test_a_postgres_connection_survives_quoting() -> None:
    read = conninfo(host="db", port=5433, login="ann", password="it's \\ secret", schema="campus")

    assert read["password"] == "it's \\ secret"
    assert (read["host"], read["port"], read["user"], read["dbname"]) == ("db", "5433", "ann", "campus")
    assert read["connect_timeout"] == "10"


def test_extras_of_a_postgres_connection_reach_libpq_and_those_of_the_hook_do_not() -> None:
    read = conninfo(
        host="db", schema="campus", extra={"sslmode": "require", "connect_timeout": 3, "cursor": "dictcursor"}
    )

    assert read["sslmode"] == "require"
    assert read["connect_timeout"] == "3"
    assert "cursor" not in read


def test_a_mongo_connection_becomes_a_uri_and_a_database() -> None:
    from pymongo.uri_parser import parse_uri

    from lockstep.orchestration.connections import mongo_access

    uri, database = mongo_access(
        connection(
            "mongo",
            host="mongo",
            port=27018,
            login="ann",
            password="p@ss/word",
            schema="campus",
            extra={"srv": False, "ssl": False, "authSource": "admin"},
        )
    )
    read = parse_uri(uri)

    assert database == read["database"] == "campus"
    assert read["nodelist"] == [("mongo", 27018)]
    assert (read["username"], read["password"]) == ("ann", "p@ss/word")
    assert read["options"]["authSource"] == "admin"
    assert "tls" not in read["options"]


def test_tls_that_allows_any_certificate_is_said_in_the_uri() -> None:
    from lockstep.orchestration.connections import mongo_access

    uri, _ = mongo_access(
        connection("mongo", host="m", schema="campus", extra={"ssl": "true", "allow_insecure": "true"})
    )

    assert "tls=true" in uri
    assert "tlsAllowInvalidCertificates=true" in uri


def test_srv_takes_no_port() -> None:
    from lockstep.orchestration.connections import mongo_access

    uri, _ = mongo_access(connection("mongo", host="cluster", schema="campus", extra={"srv": True}))
    assert uri.startswith("mongodb+srv://cluster/campus?")

    with pytest.raises(Refused, match="srv and a port"):
        mongo_access(connection("mongo", host="c", port=1, schema="campus", extra={"srv": True}))


def test_a_mongo_connection_without_a_database_is_refused() -> None:
    from lockstep.orchestration.connections import mongo_access

    with pytest.raises(Refused, match="names no database"):
        mongo_access(connection("mongo", host="mongo"))


def test_an_aws_connection_becomes_client_arguments_and_a_bucket() -> None:
    from lockstep.orchestration.connections import bucket_access

    access = bucket_access(
        connection(
            "aws",
            login="key",
            password="secret",
            extra={
                "region_name": "auto",
                "endpoint_url": "http://s3",
                "aws_session_token": "token",
                "service_config": {"s3": {"bucket_name": "uploads"}},
            },
        )
    )

    assert access.bucket == "uploads"
    assert access.client == {
        "aws_access_key_id": "key",
        "aws_secret_access_key": "secret",
        "aws_session_token": "token",
        "region_name": "auto",
        "endpoint_url": "http://s3",
    }
    assert "secret" not in repr(access)


def test_the_services_own_endpoint_wins_and_a_declared_bucket_too() -> None:
    from lockstep.orchestration.connections import bucket_access

    given = connection(
        "aws",
        extra={
            "endpoint_url": "http://all",
            "service_config": {"s3": {"bucket_name": "theirs", "endpoint_url": "http://s3"}},
        },
    )

    assert bucket_access(given, "ours").bucket == "ours"
    assert bucket_access(given).client == {"endpoint_url": "http://s3"}


def test_a_bucket_s_connection_says_how_what_is_written_there_is_kept() -> None:
    from lockstep.orchestration.connections import bucket_access

    kept = {
        "bucket_name": "vault",
        "server_side_encryption": "aws:kms",
        "sse_kms_key_id": "key-1",
        "storage_class": "STANDARD_IA",
        "tags": {"kept by": "lockstep", "team": "a&b"},
    }
    assert bucket_access(connection("aws", extra={"service_config": {"s3": kept}})).put == {
        "ServerSideEncryption": "aws:kms",
        "SSEKMSKeyId": "key-1",
        "StorageClass": "STANDARD_IA",
        "Tagging": "kept+by=lockstep&team=a%26b",
    }
    assert bucket_access(connection("aws", extra={}), "vault").put == {}
    for wrong in ("a=b", {str(n): "x" for n in range(11)}):
        extra = {"service_config": {"s3": {**kept, "tags": wrong}}}
        with pytest.raises(Refused, match="at most 10 names"):
            bucket_access(connection("aws", extra=extra))


@pytest.mark.parametrize(
    ("extra", "told"), [({}, "names no bucket"), ({"role_arn": "arn:x"}, "asks for role_arn")]
)
def test_an_aws_connection_that_cannot_be_used_says_why(extra: dict[str, str], told: str) -> None:
    from lockstep.orchestration.connections import bucket_access

    with pytest.raises(Refused, match=told):
        bucket_access(connection("aws", extra=extra))


@pytest.fixture
def known(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Connections by id, and what was masked of them."""
    from lockstep.orchestration import connections

    listed: dict[str, Any] = {"masked": []}
    monkeypatch.setattr(connections, "lookup", listed.get)
    monkeypatch.setattr(connections, "mask", lambda secrets: listed["masked"].extend(s for s in secrets if s))
    return listed


def test_a_missing_connection_says_what_it_is_for_and_how_to_add_it(known: dict[str, Any]) -> None:
    from lockstep.orchestration.connections import fetch

    with pytest.raises(Refused) as refused:
        fetch("campus_auth", "postgres", "a PostgreSQL database of resources.py")

    assert refused.value.transient is False
    for part in ("'campus_auth'", "a PostgreSQL database", "AIRFLOW_CONN_CAMPUS_AUTH", "Admin → Connections"):
        assert part in str(refused.value)


def test_a_connection_of_another_type_is_refused(known: dict[str, Any]) -> None:
    from lockstep.orchestration.connections import fetch

    known["campus_auth"] = connection("mysql", password="hidden")

    with pytest.raises(Refused, match="is of type 'mysql' and must be 'postgres'") as refused:
        fetch("campus_auth", "postgres", "a database")

    assert "hidden" not in str(refused.value)


def test_secrets_are_masked_before_they_are_used(known: dict[str, Any]) -> None:
    from lockstep.orchestration.connections import fetch

    known["bucket"] = connection("aws", password="secret", extra={"aws_session_token": "token"})

    fetch("bucket", "aws", "a bucket")

    assert known["masked"] == ["secret", "token"]


def test_connection_ids_come_from_the_environment_or_have_a_default(monkeypatch: pytest.MonkeyPatch) -> None:
    from lockstep.orchestration.wiring import LEDGER, conn_id_of

    assert conn_id_of(LEDGER) == "lockstep_ledger"
    monkeypatch.setenv("LOCKSTEP_LEDGER_CONN_ID", "another")
    assert conn_id_of(LEDGER) == "another"


def endpoint(**given: Any) -> Any:
    from lockstep.orchestration.announcers import endpoint

    return endpoint(connection("http", **given), otherwise="https://api.github.com")


@pytest.mark.parametrize(
    ("given", "url"),
    [
        ({}, "https://api.github.com"),
        ({"host": "ghe.example/api/v3"}, "https://ghe.example/api/v3"),
        ({"host": "https://hooks.example/x?key=1"}, "https://hooks.example/x?key=1"),
        ({"host": "http://hooks.example/x", "port": 8080}, "http://hooks.example:8080/x"),
        ({"host": "hooks.example", "schema": "http", "port": 80}, "http://hooks.example:80"),
    ],
)
def test_an_http_connection_becomes_an_address(given: dict[str, Any], url: str) -> None:
    assert endpoint(**given).url == url


def test_the_password_of_an_http_connection_is_a_bearer_token_or_with_a_login_basic() -> None:
    assert endpoint(password="s3cret").headers == {"Authorization": "Bearer s3cret"}
    assert endpoint(login="ann", password="s3cret").headers == {"Authorization": "Basic YW5uOnMzY3JldA=="}
    assert "s3cret" not in repr(endpoint(host="https://s3cret.example", password="s3cret"))


def test_extras_of_an_http_connection_are_headers_and_those_of_the_hook_are_not() -> None:
    extra = {
        "X-Api-Key": "k1",
        "headers": {"X-Team": "data"},
        "repository": "campus/api",
        "verify": "/etc/ca.pem",
        "timeout": 3,
        "check_response": False,
    }
    made = endpoint(host="https://hooks.example", extra=extra)

    assert made.headers == {"X-Api-Key": "k1", "X-Team": "data"}
    assert (made.verify, made.timeout) == ("/etc/ca.pem", 3.0)


def test_an_http_connection_without_an_address_is_refused() -> None:
    with pytest.raises(Refused, match="makes no address"):
        endpoint(host="ftp://files.example")


class _Said:
    """A log that keeps what was said."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def info(self, event: str, **fields: Any) -> None:
        self.lines.append(event)

    warning = info


def test_who_is_told_of_rehearsals_follows_from_the_connections(monkeypatch: pytest.MonkeyPatch) -> None:
    from lockstep.orchestration.announcers import announcers

    said: Any = _Said()
    assert announcers(said) == ()
    assert "no Airflow connection 'lockstep_github'" in said.lines[0]

    github = {"conn_type": "http", "password": "t0ken-t0ken", "extra": {"repository": "campus/api"}}
    monkeypatch.setenv("AIRFLOW_CONN_LOCKSTEP_GITHUB", json.dumps(github))
    monkeypatch.setenv("LOCKSTEP_WEBHOOK_CONN_ID", "my_hook")
    monkeypatch.setenv(
        "AIRFLOW_CONN_MY_HOOK", json.dumps({"conn_type": "http", "host": "https://hooks.example/x"})
    )
    assert [one.name for one in announcers(said)] == [
        "GitHub commit status",
        "GitHub deployment status",
        "webhook",
    ]

    monkeypatch.setenv("AIRFLOW_CONN_LOCKSTEP_GITHUB", json.dumps({**github, "extra": {}}))
    monkeypatch.setenv("AIRFLOW_CONN_MY_HOOK", json.dumps({"conn_type": "postgres", "host": "db"}))
    assert announcers(said) == ()
    assert "names no repository" in said.lines[-2]
    assert "must be 'http'" in said.lines[-1]
