"""Airflow's connections of the standard types, read as what the drivers take."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote_plus, urlencode

from lockstep.domain.errors import Refused

#: seconds until a server that does not answer counts as down
CONNECT_TIMEOUT = 10
#: what Airflow's PostgreSQL hook keeps in the extra for itself
_NOT_LIBPQ = frozenset(
    {
        "iam",
        "redshift",
        "redshift-serverless",
        "cursor",
        "aws_conn_id",
        "azure_conn_id",
        "cluster-identifier",
        "workgroup-name",
        "sqlalchemy_scheme",
        "sqlalchemy_query",
        "enable_log_db_messages",
    }
)
_EXAMPLES: dict[str, dict[str, Any]] = {
    "postgres": {"host": "…", "port": 5432, "login": "…", "password": "…", "schema": "<database>"},
    "mongo": {"host": "…", "port": 27017, "login": "…", "password": "…", "schema": "<database>"},
    "aws": {
        "login": "<access key>",
        "password": "<secret key>",
        "extra": {"region_name": "…", "service_config": {"s3": {"bucket_name": "…"}}},
    },
    "http": {"host": "https://…", "password": "<token>"},
}


@dataclass(frozen=True, kw_only=True)
class BucketAccess:
    """How to reach a bucket."""

    client: Mapping[str, Any] = field(repr=False)
    bucket: str
    #: further arguments of boto3's put_object for what is written there
    put: Mapping[str, Any] = field(default_factory=dict)


def fetch(conn_id: str, wanted: str, purpose: str) -> Any:
    """Return an Airflow connection, checked to be of the wanted type, its secrets masked in every log."""
    connection = lookup(conn_id)
    if connection is None:
        raise Refused(
            f"there is no Airflow connection {conn_id!r}, which is {purpose}. {how_to_add(conn_id, wanted)}",
            conn_id=conn_id,
        )
    if connection.conn_type != wanted:
        raise Refused(
            f"the Airflow connection {conn_id!r}, which is {purpose}, is of type {connection.conn_type!r} and must "
            f"be {wanted!r}. {how_to_add(conn_id, wanted)}",
            conn_id=conn_id,
        )
    mask(secrets_of(connection))
    return connection


def lookup(conn_id: str) -> Any | None:
    """Return an Airflow connection, or None where there is none of that name."""
    from airflow.sdk import Connection
    from airflow.sdk.exceptions import AirflowNotFoundException

    try:
        return Connection.get(conn_id)
    except AirflowNotFoundException:
        return None


def how_to_add(conn_id: str, wanted: str) -> str:
    """Say how to declare a connection, without a secret."""
    example = json.dumps({"conn_type": wanted, **_EXAMPLES[wanted]}, ensure_ascii=False)
    return (
        f"Add it under Admin → Connections with the type {wanted!r}, or set the environment variable "
        f"AIRFLOW_CONN_{conn_id.upper()}='{example}' for every Airflow process."
    )


def mask(secrets: Iterable[str | None]) -> None:
    """Keep secrets out of every log, also as they look inside a URI."""
    from airflow.sdk.log import mask_secret

    for secret in secrets:
        if secret:
            mask_secret(secret)
            if quote_plus(secret) != secret:
                mask_secret(quote_plus(secret))


def secrets_of(connection: Any) -> list[str | None]:
    """Return what of a connection must not be read by anybody."""
    extra = connection.extra_dejson
    named = ("aws_secret_access_key", "aws_session_token", "session_token", "sslpassword", "passfile")
    return [connection.password, *(str(extra[name]) for name in named if extra.get(name))]


def postgres_conninfo(connection: Any) -> str:
    """Return a libpq connection string."""
    given: dict[str, Any] = {
        "host": connection.host,
        "port": connection.port,
        "user": connection.login,
        "password": connection.password,
        "dbname": connection.schema,
        "connect_timeout": CONNECT_TIMEOUT,
        "application_name": "lockstep",
    }
    for name, value in connection.extra_dejson.items():
        if name not in _NOT_LIBPQ and isinstance(value, (str, int, float)) and not isinstance(value, bool):
            given[name] = value
    return " ".join(f"{name}={_quoted(value)}" for name, value in given.items() if value not in (None, ""))


def _quoted(value: Any) -> str:
    escaped = str(value).replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"


def mongo_access(connection: Any) -> tuple[str, str]:
    """Return a MongoDB URI and the database's name, reading the extra as Airflow's MongoDB hook does."""
    extra = dict(connection.extra_dejson)
    srv = _truth(extra.pop("srv", False))
    if srv and connection.port:
        raise Refused(
            f"the Airflow connection {connection.conn_id!r} has srv and a port; MongoDB takes the port from DNS "
            "then. Empty the port.",
            conn_id=connection.conn_id,
        )
    if not connection.schema:
        raise Refused(
            f"the Airflow connection {connection.conn_id!r} names no database. Put it into the field Schema.",
            conn_id=connection.conn_id,
        )
    netloc = connection.host or "localhost"
    if connection.login is not None and connection.password is not None:
        netloc = f"{quote_plus(connection.login)}:{quote_plus(connection.password)}@{netloc}"
    if connection.port:
        netloc = f"{netloc}:{connection.port}"
    insecure = _truth(extra.pop("allow_insecure", False))
    tls = _truth(extra.pop("ssl", False)) or _truth(extra.pop("tls", False))
    options = {"serverSelectionTimeoutMS": CONNECT_TIMEOUT * 1000, "appname": "lockstep", **extra}
    if tls or srv:
        options["tls"] = tls or srv
    if tls and insecure:
        options["tlsAllowInvalidCertificates"] = True
    query = urlencode({name: _uri_value(value) for name, value in options.items() if value is not None})
    scheme = "mongodb+srv" if srv else "mongodb"
    return f"{scheme}://{netloc}/{quote_plus(connection.schema)}?{query}", connection.schema


def _truth(value: Any) -> bool:
    return str(value).lower() == "true"


def _uri_value(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def bucket_access(connection: Any, bucket: str | None = None) -> BucketAccess:
    """Return boto3's client arguments and the bucket; without a login boto3 looks for credentials itself."""
    extra = connection.extra_dejson
    service = (extra.get("service_config") or {}).get("s3") or {}
    for name in ("role_arn", "profile_name", "assume_role_method"):
        if extra.get(name):
            raise Refused(
                f"the Airflow connection {connection.conn_id!r} asks for {name}, which Lockstep does not act on. "
                "Leave login and password empty and give the worker that role, or put keys in.",
                conn_id=connection.conn_id,
            )
    named = bucket or service.get("bucket_name")
    if not named:
        raise Refused(
            f"the Airflow connection {connection.conn_id!r} names no bucket. Add it to the extra: "
            '{"service_config": {"s3": {"bucket_name": "…"}}}.',
            conn_id=connection.conn_id,
        )
    client = {
        "aws_access_key_id": connection.login or extra.get("aws_access_key_id"),
        "aws_secret_access_key": connection.password or extra.get("aws_secret_access_key"),
        "aws_session_token": extra.get("aws_session_token") or extra.get("session_token"),
        "region_name": extra.get("region_name"),
        "endpoint_url": service.get("endpoint_url") or extra.get("endpoint_url") or connection.host,
        "verify": extra.get("verify"),
    }
    return BucketAccess(
        client={k: v for k, v in client.items() if v not in (None, "")},
        bucket=str(named),
        put=_put_arguments(connection.conn_id, service),
    )


#: name in the extra's service_config.s3 → boto3's name
_PUT = {
    "server_side_encryption": "ServerSideEncryption",
    "sse_kms_key_id": "SSEKMSKeyId",
    "storage_class": "StorageClass",
}


def _put_arguments(conn_id: str, service: Mapping[str, Any]) -> dict[str, Any]:
    """Return how what is written to a bucket is to be encrypted, stored and tagged."""
    found: dict[str, Any] = {theirs: str(service[ours]) for ours, theirs in _PUT.items() if service.get(ours)}
    tags = service.get("tags") or {}
    if not isinstance(tags, Mapping) or len(tags) > 10:
        raise Refused(
            f"service_config.s3.tags of the Airflow connection {conn_id!r} must be an object of at most 10 names and "
            'values, such as {"kept-by": "lockstep"}.',
            conn_id=conn_id,
        )
    if tags:
        found["Tagging"] = urlencode({str(name): str(value) for name, value in tags.items()})
    return found
