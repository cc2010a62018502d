"""Start the run of a deploy, or attach to the one that an earlier try of the same pipeline started."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import count
from typing import Any

from lockstep.cli.deploying.asked import MIGRATE, Asked
from lockstep.domain.errors import Refused
from lockstep.stores.airflow import AirflowClient, AirflowRefused, DagRun

#: what takes databases back: the beginnings of DAG ids
_BACKWARDS = ("rollback", "restore", "repair", "revision_")
#: parameters in which a key's runs must agree
_SAME = ("target", "environment")


def refuse_paused(client: AirflowClient) -> None:
    """Raise Refused where migrate would accept a run and never start it, or is not there."""
    try:
        dag = client.dag(MIGRATE)
    except AirflowRefused as problem:
        if problem.status != 404:
            raise
        raise Refused(
            f"Airflow at {client.address} has no DAG {MIGRATE!r}. Either the address is another's, or its file could "
            "not be read: look at the import errors on Airflow's home page."
        ) from None
    if dag.get("is_paused"):
        raise Refused(
            f"the DAG {MIGRATE!r} is paused, so that its run would wait for ever: somebody stopped migrations. "
            f"Unpause it at {client.address}/dags/{MIGRATE}, then run this again."
        )


def attach_or_start(client: AirflowClient, asked: Asked, say: Callable[[str], None]) -> DagRun:
    """Return the run to follow: one that goes on, one that ended well and still holds, or a new one.

    A run that failed is followed by another attempt, whose id ends in its number. Refused where the key belongs to a
    run with another target.
    """
    for attempt in count(1):
        run_id = asked.run_id(attempt)
        found = client.run(MIGRATE, run_id)
        if found is None:
            return _started(client, asked, run_id, say)
        _refuse_other(found, asked)
        url = client.run_url(MIGRATE, run_id)
        if not found.over:
            say(f"attached to run {run_id!r}, which is {found.state}: {url}")
            return found
        if found.state != "success":
            say(f"run {run_id!r} failed at {_at(found)}: asking again")
            continue
        since = moved_since(client, found)
        if since is None:
            say(f"run {run_id!r} ended well at {_at(found)}, and nothing was taken back since: {url}")
            return found
        say(
            f"run {run_id!r} ended well at {_at(found)}, but {since.dag_id} {since.run_id!r} came after: asking again"
        )
    raise AssertionError("count() does not end")


def moved_since(client: AirflowClient, run: DagRun) -> DagRun | None:
    """Return a run that may have taken something back since this one ended, or None."""
    if run.ended is None:
        return None
    for prefix in _BACKWARDS:
        later = client.runs(dag_id_prefix_pattern=prefix, updated_at_gte=run.ended.isoformat(), order_by="id")
        for other in later:
            down = not prefix.endswith("_") or other.conf.get("direction") == "downgrade"
            if down and not other.run_id.startswith(f"{run.run_id}__") and _same_place(other.conf, run.conf):
                return other
    return None


def _same_place(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Say whether two runs may be about the same databases: where one says nothing, they may."""
    named = {conf["environment"] for conf in (one, other) if conf.get("environment")}
    return len(named) < 2


def _started(client: AirflowClient, asked: Asked, run_id: str, say: Callable[[str], None]) -> DagRun:
    run = client.start(MIGRATE, run_id, asked.parameters(), asked.note or None)
    _refuse_other(run, asked)  # another try of the pipeline may have been faster
    where = f" in {asked.environment}" if asked.environment else ""
    what = "asked for the plan" if asked.dry_run else f"run {run_id!r}"
    say(f"{what} to {asked.target!r}{where}: {client.run_url(MIGRATE, run_id)}")
    if not asked.lasting and not asked.dry_run:
        say("without --key, a re-run of this pipeline would start a run of its own")
    return run


def _refuse_other(run: DagRun, asked: Asked) -> None:
    """Raise Refused where the run of this key was asked for something else."""
    wanted = asked.parameters()
    for name in _SAME:
        was, wants = run.conf.get(name, "head" if name == "target" else None), wanted.get(name)
        if was != wants:
            raise Refused(
                f"the key {asked.key!r} belongs to run {run.run_id!r}, which was asked for {name} {was!r} and not "
                f"{wants!r}. Give this deploy a --key of its own.",
                key=asked.key,
                run_id=run.run_id,
            )


def _at(run: DagRun) -> str:
    return f"{run.ended:%Y-%m-%d %H:%M:%S} UTC" if run.ended else "an unknown time"
