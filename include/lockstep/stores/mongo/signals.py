"""What a server says of itself before each batch: how far its secondaries are behind, and its connections.

Whether there are secondaries at all is asked of `hello`, which everybody may. How far they are behind is known
to members of clusterMonitor only. What may not be read might be anything, so it means stop, and the reading says
what to grant. A limit of infinity is not looked at.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime
from math import isinf
from typing import Any

from pymongo.errors import OperationFailure

from lockstep.domain.errors import LockstepError
from lockstep.domain.pacing import Limits, Reading, Verdict
from lockstep.stores.mongo.connection import Connection
from lockstep.stores.mongo.errors import TRANSIENT

_LAG = "replication lag"
_PRIMARY = 1
#: states of a member that applies what the primary writes: SECONDARY and RECOVERING. One that is down, or copies
#: everything first, is not waited for: that may take days.
_FOLLOWS = frozenset({2, 3})

GRANT = 'db.getSiblingDB("admin").grantRolesToUser("{user}", [{{role: "clusterMonitor", db: "admin"}}])'


def pressure(connection: Connection, limits: Limits) -> list[Reading]:
    """Read the server's signals; stop, with the reason, for what cannot be read."""
    try:
        with connection.translate("reading its signals"):
            return list(_readings(connection, limits))
    except LockstepError as problem:
        return [
            Reading(
                signal=f"signals of {connection.declared.conn_id}",
                verdict="stop",
                detail=f"they cannot be read, which means stop: {problem}",
            )
        ]


def _readings(connection: Connection, limits: Limits) -> Iterator[Reading]:
    ask = connection.client.admin.command
    if not isinf(limits.replication_lag):
        hello = ask("hello")
        if "setName" in hello:
            yield from _lags(connection, str(hello["setName"]), limits.replication_lag)
        elif hello.get("msg") == "isdbgrid":
            detail = "a sharded cluster does not tell it here; watch it by a signal of the project's own"
            yield Reading(signal=_LAG, verdict="go", detail=detail)
    if not isinf(limits.connections):
        try:
            counted = ask("serverStatus").get("connections")
        except OperationFailure as problem:
            if problem.code in TRANSIENT:
                raise
            # Where the role may not ask, the server refuses connections by itself when it has too many.
            return
        if isinstance(counted, Mapping):
            yield from connections(counted, limits.connections)


def _lags(connection: Connection, name: str, allowed: float) -> Iterator[Reading]:
    ask = connection.client.admin.command
    try:
        status = ask("replSetGetStatus")
        late = [reading for reading in lags(status, {}, allowed) if reading.verdict != "go"]
        # A member may be told to be late: asked only where one is.
        delays = delays_of(ask("replSetGetConfig")) if late else {}
    except OperationFailure as problem:
        if problem.code in TRANSIENT:
            raise
        yield Reading(
            signal=f"{_LAG} of replica set {name}",
            verdict="stop",
            detail=f"it cannot be read, which means stop ({str(problem)[:200]}). As an administrator: "
            f"{GRANT.format(user=_user(connection))}",
        )
        return
    yield from lags(status, delays, allowed)


def _user(connection: Connection) -> str:
    known = connection.client.admin.command("connectionStatus").get("authInfo", {})
    return next((str(one["user"]) for one in known.get("authenticatedUsers", ())), "…")


def lags(status: Mapping[str, Any], delays: Mapping[str, float], allowed: float) -> list[Reading]:
    """Read the answer to replSetGetStatus. `delays`: seconds that a member is told to be late, by its name."""
    members = status.get("members", ())
    newest = next((_written(member) for member in members if member.get("state") == _PRIMARY), None)
    if newest is None:
        name = status.get("set", "")
        return [Reading(signal=f"{_LAG} of replica set {name}", verdict="stop", detail="it has no primary")]
    found = []
    for member in members:
        at = _written(member)
        if member.get("state") not in _FOLLOWS or at is None:
            continue
        behind = max((newest - at).total_seconds() - delays.get(member["name"], 0.0), 0.0)
        verdict: Verdict = "stop" if behind > allowed else "slow" if behind > allowed / 2 else "go"
        found.append(
            Reading(
                signal=f"{_LAG} of {member['name']}",
                verdict=verdict,
                detail=f"{behind:.0f} s, allowed {allowed:g} s",
            )
        )
    return found


def _written(member: Mapping[str, Any]) -> datetime | None:
    """Return when what the member wrote last was written, by the primary's clock; arbiters write nothing."""
    at = member.get("optimeDate")
    return at if isinstance(at, datetime) else None


def delays_of(answer: Mapping[str, Any]) -> dict[str, float]:
    """Return the seconds that members are told to be late, from the answer to replSetGetConfig."""
    return {
        member["host"]: float(member.get("secondaryDelaySecs", member.get("slaveDelay", 0)))
        for member in answer["config"]["members"]
    }


def connections(counted: Mapping[str, Any], share: float) -> Iterator[Reading]:
    """Stop beyond the share; slow while fewer than twice as many are free as it demands."""
    current, free = counted.get("current"), counted.get("available")
    if not isinstance(current, int) or not isinstance(free, int):
        return
    allowed = max(1, current + free)
    used = current / allowed
    verdict: Verdict = "stop" if used > share else "slow" if used > 1 - 2 * (1 - share) else "go"
    yield Reading(
        signal="connections", verdict=verdict, detail=f"{current} of {allowed}, allowed {share:.0%}"
    )
