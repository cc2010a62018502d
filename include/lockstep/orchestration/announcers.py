"""Airflow's HTTP connections, read as who is told of rehearsals."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from lockstep.domain.environment import Environment
from lockstep.domain.errors import Refused
from lockstep.orchestration.connections import fetch, lookup, mask
from lockstep.orchestration.links import PREFIX, base_url
from lockstep.orchestration.wiring import conn_id_in

if TYPE_CHECKING:
    from lockstep.engine.ports import Announcer
    from lockstep.engine.services import Log
    from lockstep.stores.announcers import Endpoint

#: environment variable → connection id unless it says otherwise
GITHUB = ("LOCKSTEP_GITHUB_CONN_ID", "lockstep_github")
WEBHOOK = ("LOCKSTEP_WEBHOOK_CONN_ID", "lockstep_webhook")
GITHUB_API = "https://api.github.com"
#: key of the extra under which the secret lies that bodies are signed with
SIGNED_WITH = "signing_secret"
#: what Airflow's HTTP hook keeps in the extra for itself; every other key is a header
_OPTIONS = frozenset(
    {
        "stream",
        "cert",
        "proxies",
        "proxy",
        "timeout",
        "verify",
        "verify_ssl",
        "allow_redirects",
        "max_redirects",
        "trust_env",
        "check_response",
        "srv_lookup",
        "repository",
        "headers",
        SIGNED_WITH,
    }
)


def announcers(log: Log, environment: Environment | None = None) -> tuple[Announcer, ...]:
    """Return who is told of rehearsals: those that there is a connection for. What is wrong with one is said."""
    found: list[Announcer] = []
    for named, purpose, made in (
        (GITHUB, "GitHub, which shows how rehearsals end", _github),
        (WEBHOOK, "the webhook that is told of rehearsals", _webhook),
    ):
        conn_id = conn_id_in(environment, named)
        if lookup(conn_id) is None:
            log.info(f"there is no Airflow connection {conn_id!r}, {purpose}: nothing is sent there")
            continue
        try:
            found += made(fetch(conn_id, "http", purpose))
        except Refused as problem:
            log.warning(f"nothing is sent: {problem}")
    return tuple(found)


def _github(connection: Any) -> tuple[Announcer, ...]:
    from lockstep.stores.announcers import CommitStatus, DeploymentStatus
    from lockstep.stores.announcers.github import GitHub

    repository = str(connection.extra_dejson.get("repository") or "").strip("/ ")
    if repository.count("/") != 1:
        raise Refused(
            f"the Airflow connection {connection.conn_id!r} names no repository. Add it to the extra: "
            '{"repository": "owner/name"}.',
            conn_id=connection.conn_id,
        )
    github = GitHub(endpoint=endpoint(connection, otherwise=GITHUB_API), repository=repository)
    return CommitStatus(github), DeploymentStatus(github)


def _webhook(connection: Any) -> tuple[Announcer, ...]:
    from lockstep.stores.announcers import Webhook

    return (Webhook(endpoint(connection), source=f"{base_url()}{PREFIX}"),)


def endpoint(connection: Any, *, otherwise: str = "") -> Endpoint:
    """Return where a connection of type http leads.

    Host is a whole address or a name, which Schema (https without one) and Port complete. The password goes as a
    bearer token, or with Login as basic authentication; the extra's other keys are headers, as for Airflow's hook.
    """
    from lockstep.stores.announcers import Endpoint

    extra = connection.extra_dejson
    given = {name: value for name, value in extra.items() if name not in _OPTIONS}
    headers = {str(name): str(value) for name, value in {**given, **(extra.get("headers") or {})}.items()}
    secret = str(extra.get(SIGNED_WITH) or "")
    mask([*headers.values(), secret])
    if connection.password:
        headers["Authorization"] = _authorization(connection)
    verify = extra.get("verify", extra.get("verify_ssl", True))
    return Endpoint(
        url=_address(connection, otherwise),
        conn_id=connection.conn_id,
        headers=headers,
        verify=verify if isinstance(verify, str) else bool(verify),
        timeout=float(extra.get("timeout") or 10.0),
        secret=secret,
    )


def _address(connection: Any, otherwise: str) -> str:
    host = (connection.host or "").strip()
    address = host if "://" in host else f"{connection.schema or 'https'}://{host}" if host else otherwise
    parts = urlsplit(address)
    if parts.scheme not in ("http", "https") or not parts.netloc:
        raise Refused(
            f"the Airflow connection {connection.conn_id!r} makes no address. Put one such as "
            "https://api.example.com into its field Host.",
            conn_id=connection.conn_id,
        )
    if connection.port and parts.port is None:
        parts = parts._replace(netloc=f"{parts.netloc}:{connection.port}")
    return parts.geturl()


def _authorization(connection: Any) -> str:
    from base64 import b64encode

    if not connection.login:
        return f"Bearer {connection.password}"
    pair = b64encode(f"{connection.login}:{connection.password}".encode()).decode()
    mask([pair])
    return f"Basic {pair}"
