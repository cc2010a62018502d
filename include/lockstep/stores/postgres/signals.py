"""What a server says of itself before each batch: one query, read into go, slow and stop.

A role sees the sessions and standbys of others only as a member of pg_monitor. What it may not see might be
anything, so it means stop, and the reading says what to grant. A limit of infinity is not looked at.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import isinf
from typing import Any

from lockstep.domain.errors import LockstepError
from lockstep.domain.pacing import Limits, Reading, Verdict
from lockstep.stores.postgres.connect import Connector
from lockstep.stores.postgres.text import Conn, one, run

#: bytes that a standby may be behind without being late: the last few records of an idle server
TRIFLE = 64 * 1024
#: seconds without a word from a standby after which the silence is its lag; it speaks every ten
SILENCE = 15.0

_LAG = "replication lag"

GRANT = "GRANT pg_monitor TO {role}"

#: Everything at once, from the functions below the views: the views' joins cost more than what they read.
#: A role that may not see others' sessions finds two words where their query is. A standby that has nothing
#: to replay reports no lag, or an old one: its distance in bytes says whether it counts.
READ = """
WITH sessions AS MATERIALIZED (
    SELECT pid, application_name, wait_event_type = 'Lock' AS waits, xact_start,
           coalesce(backend_type, 'client backend') = 'client backend' AND datid IS NOT NULL AS client,
           coalesce(application_name LIKE 'lockstep%%', false) AS ours,
           query = '<insufficient privilege>' AND usesysid IS NOT NULL AS hidden,
           datid = (SELECT oid FROM pg_database WHERE datname = current_database()) AS here
    FROM pg_stat_get_activity(NULL)
)
SELECT session_user,
    count(*) FILTER (WHERE client),
    current_setting('max_connections')::int - current_setting('superuser_reserved_connections')::int
        - coalesce(current_setting('reserved_connections', true)::int, 0),
    count(*) FILTER (WHERE client AND here AND hidden),
    array_agg(pid) FILTER (WHERE here AND waits AND NOT ours),
    array_agg(pid) FILTER (WHERE here AND ours),
    (array_agg(pid ORDER BY xact_start) FILTER (WHERE client AND here AND NOT ours AND xact_start IS NOT NULL))[1],
    extract(epoch FROM clock_timestamp()
        - min(xact_start) FILTER (WHERE client AND here AND NOT ours))::float8,
    (SELECT jsonb_agg(jsonb_build_object(
            'name', coalesce(nullif(s.application_name, ''), 'process ' || w.pid), 'hidden', w.state IS NULL,
            'behind', pg_wal_lsn_diff(pg_current_wal_lsn(), w.replay_lsn), 'lag', extract(epoch FROM w.replay_lag),
            'silent', extract(epoch FROM clock_timestamp() - w.reply_time)))
        FROM pg_stat_get_wal_senders() AS w LEFT JOIN sessions AS s USING (pid)
        WHERE w.state IS NULL OR (w.state <> 'backup' AND w.replay_lsn IS NOT NULL)),
    (SELECT jsonb_agg(jsonb_build_object(
            'name', slot_name, 'active', active, 'status', wal_status,
            'kept', pg_wal_lsn_diff(pg_current_wal_lsn(), restart_lsn)))
        FROM pg_get_replication_slots() WHERE restart_lsn IS NOT NULL AND wal_status IS DISTINCT FROM 'lost')
FROM sessions
"""

#: The transaction that was prepared first, of those that nobody has committed yet.
PREPARED = """
SELECT gid, extract(epoch FROM clock_timestamp() - prepared)::float8
FROM pg_prepared_xacts WHERE database = current_database() ORDER BY prepared LIMIT 1
"""

#: Who keeps each of those that wait. Asked only where somebody waits: it takes every partition of the lock table.
BLOCKED = "SELECT pid, pg_blocking_pids(pid) FROM unnest(%(waiting)s::int[]) AS pid"

#: Make a standby that waits for nothing say where it is: an id for a transaction is a record of WAL, and
#: each record that a standby writes makes it answer.
NUDGE = "SELECT txid_current()"


@dataclass(frozen=True, kw_only=True)
class _Seen:
    """What was found."""

    role: str
    connections: int
    allowed: int
    #: sessions of this database that the role may not look into
    hidden: int
    waiting: int
    #: who has the oldest transaction, and its seconds; None where nobody has one
    oldest: tuple[str, float] | None
    standbys: list[dict[str, Any]]
    slots: list[dict[str, Any]]


def pressure(connector: Connector, limits: Limits) -> list[Reading]:
    """Read the server's signals; stop, with the reason, for what cannot be read."""
    try:
        with connector.transaction(pinned=False) as conn:
            readings = list(_readings(_look(conn), limits))
            if any(reading.verdict != "go" and reading.signal.startswith(_LAG) for reading in readings):
                run(conn, NUDGE)
            return readings
    except LockstepError as problem:
        return [
            Reading(
                signal=f"signals of {connector.address.conn_id}",
                verdict="stop",
                detail=f"they cannot be read, which means stop: {problem}",
            )
        ]


def _look(conn: Conn) -> _Seen:
    role, connections, allowed, hidden, waiting, ours, pid, age, standbys, slots = one(conn, READ)
    opened = [] if pid is None else [(f"process {pid}", age)]
    opened += [(f"prepared {gid!r}", since) for gid, since in run(conn, PREPARED)]
    blocked: dict[int, list[int]] = (
        dict(run(conn, BLOCKED, {"waiting": waiting}).fetchall()) if waiting and ours else {}
    )
    return _Seen(
        role=role,
        connections=connections,
        allowed=allowed,
        hidden=hidden,
        waiting=_behind(blocked, ours),
        oldest=max(opened, key=lambda each: each[1], default=None),
        standbys=standbys or [],
        slots=slots or [],
    )


def _behind(blocked: dict[int, list[int]], ours: list[int] | None) -> int:
    """Count those that wait for us, or for somebody who does: the second in a row's queue waits for the first."""
    ahead, behind = set(ours or ()), 0
    while found := [pid for pid, by in blocked.items() if pid not in ahead and not ahead.isdisjoint(by)]:
        ahead.update(found)
        behind += len(found)
    return behind


def _readings(seen: _Seen, limits: Limits) -> Iterator[Reading]:
    for standby in seen.standbys:
        if not isinf(limits.replication_lag):
            yield _lag(standby, seen.role, limits)
    for slot in seen.slots:
        if not isinf(limits.slot_bytes):
            yield _slot(slot, limits.slot_bytes)
    if not isinf(limits.waiters):
        yield _hidden("sessions that wait for our locks", seen) or Reading(
            signal="sessions that wait for our locks",
            verdict=_verdict(seen.waiting, limits.waiters),
            detail=f"{seen.waiting}, allowed {limits.waiters}",
        )
    if not isinf(limits.transaction_age):
        yield _hidden("other transactions", seen) or _oldest(seen, limits.transaction_age)
    if not isinf(limits.connections):
        yield _connections(seen, limits.connections)


def _lag(standby: dict[str, Any], role: str, limits: Limits) -> Reading:
    signal = f"{_LAG} of {standby['name']}"
    if standby["hidden"]:
        return _unreadable(signal, role)
    behind, lag, silent = standby["behind"], standby["lag"], standby["silent"] or 0.0
    if behind <= TRIFLE:
        return Reading(signal=signal, verdict="go", detail="it has replayed all there is")
    if silent > SILENCE:
        lag = (lag or 0.0) + silent
    if lag is None:  # it has measured none yet, as while it catches up: then the distance decides
        verdict = _verdict(behind, limits.slot_bytes)
        return Reading(
            signal=signal,
            verdict=verdict,
            detail=f"{_size(behind)} behind, allowed {_size(limits.slot_bytes)} while it says no time",
        )
    return Reading(
        signal=signal,
        verdict=_verdict(lag, limits.replication_lag),
        detail=f"{lag:.1f} s ({_size(behind)}), allowed {limits.replication_lag:g} s",
    )


def _slot(slot: dict[str, Any], most: float) -> Reading:
    idle = "" if slot["active"] else ", and nobody reads it: drop it if nobody will"
    signal = f"WAL kept by replication slot {slot['name']}"
    detail = f"{_size(slot['kept'])}, allowed {_size(most)}{idle}"
    if slot["status"] == "unreserved":
        return Reading(signal=signal, verdict="stop", detail=f"the server is about to remove it: {detail}")
    return Reading(signal=signal, verdict=_verdict(slot["kept"], most), detail=detail)


def _oldest(seen: _Seen, most: float) -> Reading:
    """Say slow at most: waiting for somebody else's transaction to end could take for ever."""
    who, age = seen.oldest or ("none", 0.0)
    return Reading(
        signal="oldest other transaction",
        verdict="slow" if age > most else "go",
        detail=f"{who}, open for {age:.0f} s, at full pace up to {most:g} s",
    )


def _connections(seen: _Seen, share: float) -> Reading:
    """Stop beyond the share; slow while fewer than twice as many are free as it demands."""
    used = seen.connections / max(1, seen.allowed)
    verdict: Verdict = "stop" if used > share else "slow" if used > 1 - 2 * (1 - share) else "go"
    return Reading(
        signal="connections",
        verdict=verdict,
        detail=f"{seen.connections} of {seen.allowed}, allowed {share:.0%}",
    )


def _hidden(signal: str, seen: _Seen) -> Reading | None:
    return _unreadable(signal, seen.role) if seen.hidden else None


def _unreadable(signal: str, role: str) -> Reading:
    grant = GRANT.format(role=role)
    return Reading(
        signal=signal,
        verdict="stop",
        detail=f"role {role} may not see it, which means stop. As an administrator: {grant}",
    )


def _verdict(value: float, most: float) -> Verdict:
    return "stop" if value > most else "slow" if value > most / 2 else "go"


def _size(count: float) -> str:
    for unit in ("B", "kB", "MB"):
        if abs(count) < 1024:
            return f"{count:.0f} {unit}"
        count /= 1024
    return f"{count:.1f} GB"
