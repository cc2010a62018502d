"""The ledger and the vault from environment variables alone: Airflow and its database may be gone."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

from lockstep.domain.declared_environments import declared_environments
from lockstep.domain.errors import Refused
from lockstep.stores.ledger import PostgresLedger
from lockstep.stores.vault import S3Vault

LEDGER_URI = "LOCKSTEP_LEDGER_URI"
BUCKET, ENDPOINT = "LOCKSTEP_VAULT_BUCKET", "LOCKSTEP_VAULT_ENDPOINT"
#: environment variable → connection id unless it says otherwise, before the environment's prefix
_LEDGER = ("LOCKSTEP_LEDGER_CONN_ID", "lockstep_ledger")
_VAULT = ("LOCKSTEP_VAULT_CONN_ID", "lockstep_vault")
#: what of a PostgreSQL connection's extra libpq knows
_LIBPQ = frozenset(
    {
        "sslmode",
        "sslrootcert",
        "sslcert",
        "sslkey",
        "sslpassword",
        "passfile",
        "connect_timeout",
        "target_session_attrs",
        "channel_binding",
        "gssencmode",
        "options",
    }
)


@dataclass(frozen=True, kw_only=True)
class Connection:
    """What a variable AIRFLOW_CONN_… says, in JSON or as a URI."""

    name: str
    host: str | None = None
    port: int | None = None
    login: str | None = None
    password: str | None = field(default=None, repr=False)
    schema: str | None = None
    extra: Mapping[str, Any] = field(default_factory=dict, repr=False)


def open_ledger(environment: str | None) -> PostgresLedger:
    """Open an environment's ledger; Refused, naming the variables, where none leads to one."""
    uri = os.environ.get(LEDGER_URI, "").strip()
    if uri and not environment:
        return PostgresLedger(uri, conn_id=LEDGER_URI)
    conn_id = _conn_id(environment, _LEDGER)
    found = _connection(conn_id)
    if found is None:
        raise Refused(
            f"nothing says where the ledger is. Set {LEDGER_URI}=postgresql://… or {variable(conn_id)}."
        )
    return PostgresLedger(_conninfo(found), conn_id=conn_id)


def open_vault(environment: str | None) -> S3Vault:
    """Open an environment's vault; Refused, naming the variables, where none leads to one."""
    bucket = os.environ.get(BUCKET, "").strip()
    if bucket and not environment:
        return S3Vault(_from_aws(), bucket, conn_id=BUCKET)
    conn_id = _conn_id(environment, _VAULT)
    found = _connection(conn_id)
    if found is None:
        raise Refused(
            f"nothing says where the vault is. Set {BUCKET} (with {ENDPOINT} and AWS_ACCESS_KEY_ID, "
            f"AWS_SECRET_ACCESS_KEY where it is not Amazon's) or {variable(conn_id)}."
        )
    service = (found.extra.get("service_config") or {}).get("s3") or {}
    named = service.get("bucket_name")
    if not named:
        raise Refused(f"{variable(conn_id)} names no bucket: service_config.s3.bucket_name in its extra.")
    given = {
        "aws_access_key_id": found.login or found.extra.get("aws_access_key_id"),
        "aws_secret_access_key": found.password or found.extra.get("aws_secret_access_key"),
        "aws_session_token": found.extra.get("aws_session_token") or found.extra.get("session_token"),
        "region_name": found.extra.get("region_name"),
        "endpoint_url": service.get("endpoint_url") or found.extra.get("endpoint_url") or found.host,
        "verify": found.extra.get("verify"),
    }
    client = {name: value for name, value in given.items() if value not in (None, "")}
    return S3Vault(client, str(named), conn_id=conn_id)


def variable(conn_id: str) -> str:
    """Return the variable that Airflow takes a connection from."""
    return f"AIRFLOW_CONN_{conn_id.upper()}"


def _conn_id(environment: str | None, named: tuple[str, str]) -> str:
    environments = declared_environments()
    usual = os.environ.get("LOCKSTEP_ENVIRONMENT", "").strip()
    meant = environments.get(environment) if environment else environments.default(usual)
    return meant.conn_id(os.environ.get(named[0], "").strip() or named[1])


def _from_aws() -> dict[str, Any]:
    """Return boto3's arguments where it finds the keys itself."""
    endpoint = os.environ.get(ENDPOINT, "").strip()
    region = os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION")
    found = {"endpoint_url": endpoint, "region_name": region or ("us-east-1" if endpoint else "")}
    return {name: value for name, value in found.items() if value}


def _connection(conn_id: str) -> Connection | None:
    text = os.environ.get(variable(conn_id), "").strip()
    if not text:
        return None
    try:
        return _from_json(conn_id, text) if text.startswith("{") else _from_uri(conn_id, text)
    except (ValueError, TypeError, AttributeError):
        # What is wrong with it may quote it, and it holds a password.
        raise Refused(f"{variable(conn_id)} is neither JSON nor a URI as Airflow takes them.") from None


def _from_json(conn_id: str, text: str) -> Connection:
    said = json.loads(text)
    extra = said.get("extra") or {}
    return Connection(
        name=conn_id,
        host=said.get("host"),
        port=int(said["port"]) if said.get("port") else None,
        login=said.get("login"),
        password=said.get("password"),
        schema=said.get("schema"),
        extra=json.loads(extra) if isinstance(extra, str) else dict(extra),
    )


def _from_uri(conn_id: str, text: str) -> Connection:
    parts = urlsplit(text)
    query = dict(parse_qsl(parts.query, keep_blank_values=True))
    extra = json.loads(query["__extra__"]) if "__extra__" in query else query
    # Not parts.hostname, which is in lower case and knows no percent-encoding.
    address = parts.netloc.rpartition("@")[2]
    host = address.rpartition(":")[0] if parts.port else address.rstrip(":")
    return Connection(
        name=conn_id,
        host=unquote(host) or None,
        port=parts.port,
        login=unquote(parts.username) if parts.username else None,
        password=unquote(parts.password) if parts.password else None,
        schema=unquote(parts.path[1:]) or None,
        extra=extra,
    )


def _conninfo(found: Connection) -> str:
    given: dict[str, Any] = {
        "host": found.host,
        "port": found.port,
        "user": found.login,
        "password": found.password,
        "dbname": found.schema,
        **{name: value for name, value in found.extra.items() if name in _LIBPQ},
    }
    return " ".join(f"{name}={_quoted(value)}" for name, value in given.items() if value not in (None, ""))


def _quoted(value: Any) -> str:
    escaped = str(value).replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"
