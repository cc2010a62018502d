"""One HTTP request: what it is answered, in our own words and errors."""

from __future__ import annotations

import json
import ssl
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

import httpx

from lockstep.domain.errors import Refused, Unavailable
from lockstep.stores.announcers.signing import signature_headers

#: answers after which the same request may be taken
_PASSING = frozenset({408, 425, 429})
#: characters of an answer that are shown
_SHOWN = 300


@dataclass(frozen=True, kw_only=True)
class Endpoint:
    """Where requests go, and what goes with each."""

    #: with its scheme; paths are put behind it
    url: str = field(repr=False)
    #: the Airflow connection that names it
    conn_id: str
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    #: False: certificates are not checked; a path: those of this file are trusted
    verify: bool | str = True
    #: seconds for each of connecting, sending and waiting for an answer
    timeout: float = 10.0
    #: what bodies are signed with; empty for not at all
    secret: str = field(default="", repr=False)

    @property
    def shown(self) -> str:
        """The address without its path, which may be a secret."""
        parts = urlsplit(self.url)
        return f"{parts.scheme}://{parts.hostname}" + (f":{parts.port}" if parts.port else "")


def request(
    endpoint: Endpoint,
    method: str,
    path: str = "",
    *,
    body: Mapping[str, Any] | None = None,
    headers: Mapping[str, str] | None = None,
    signed_as: str | None = None,
) -> Any:
    """Send a request; return the JSON of its answer, None where it is none.

    `signed_as`: the message's id, under which the body is signed where the endpoint has a secret. Unavailable where
    nobody answers or the server fails, Refused with the answer's text otherwise.
    """
    content = None if body is None else json.dumps(body, ensure_ascii=False).encode()
    signed: Mapping[str, str] = {}
    if endpoint.secret and signed_as and content is not None:
        signed = signature_headers(endpoint.secret, signed_as, content, time.time())
    trusted: bool | ssl.SSLContext = (
        endpoint.verify
        if isinstance(endpoint.verify, bool)
        else ssl.create_default_context(cafile=endpoint.verify)
    )
    try:
        # Redirects are not followed: the token would go wherever the answer says.
        with httpx.Client(timeout=endpoint.timeout, verify=trusted) as client:
            answer = client.request(
                method,
                endpoint.url.rstrip("/") + path if path else endpoint.url,
                content=content,
                headers={**endpoint.headers, **(headers or {}), **signed},
            )
    except httpx.TransportError as problem:
        raise Unavailable(
            f"{endpoint.shown} does not answer: {_hidden(endpoint, str(problem)) or type(problem).__name__}.",
            conn_id=endpoint.conn_id,
        ) from None
    except (httpx.InvalidURL, UnicodeError):
        raise Refused(
            f"the Airflow connection {endpoint.conn_id!r} makes no address. Put one such as "
            "https://api.example.com into its field Host.",
            conn_id=endpoint.conn_id,
        ) from None
    if answer.is_success:
        return _json(answer)
    raise _refusal(endpoint, answer)


def _refusal(endpoint: Endpoint, answer: httpx.Response) -> Unavailable | Refused:
    told = f"{endpoint.shown} answers {answer.status_code} {answer.reason_phrase}".rstrip()
    text = _hidden(endpoint, " ".join(answer.text.split()))[:_SHOWN]
    told += f": {text}" if text else ""
    wait = _seconds(answer.headers.get("retry-after"))
    # GitHub says 403 with Retry-After where it was asked too often.
    if answer.status_code >= 500 or answer.status_code in _PASSING or (answer.status_code == 403 and wait):
        return Unavailable(_sentence(told), conn_id=endpoint.conn_id, retry_after=wait)
    if answer.is_redirect:
        told = f"{endpoint.shown} answers that it has moved, which is not followed"
    return Refused(
        f"{_sentence(told)} Mend the Airflow connection {endpoint.conn_id!r}, or what it leads to.",
        conn_id=endpoint.conn_id,
        status=answer.status_code,
    )


def _hidden(endpoint: Endpoint, text: str) -> str:
    """Return a text without the secrets of the endpoint, should somebody echo them."""
    for value in endpoint.headers.values():
        for secret in {value, value.rpartition(" ")[2]}:
            text = text.replace(secret, "***") if len(secret) > 5 else text
    return text


def _sentence(text: str) -> str:
    return text if text.endswith(".") else f"{text}."


def _seconds(given: str | None) -> float | None:
    return float(given) if given and given.strip().isdecimal() else None


def _json(answer: httpx.Response) -> Any:
    try:
        return answer.json()
    except ValueError:
        return None
