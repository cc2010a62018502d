"""A held run gives its workers back and goes on by itself: no try is used up, and nothing fails."""

from __future__ import annotations

import asyncio
from datetime import datetime, timedelta, timezone
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from scripted_engine import ScriptedEngine
from test_states import OP_2, SHARD, run

from lockstep.domain.environment import DEFAULT
from lockstep.domain.errors import Held, Refused, Unavailable
from lockstep.domain.run import Pause

NOW = datetime.now(timezone.utc)
LAG = Held("replication lag of standby-2: 14.2 s, allowed 10 s", seconds=0.0)


def instances(ended: Any, task: str) -> list[Any]:
    return [one for one in ended.dag_run.get_task_instances() if one.task_id == task]


def test_a_held_shard_goes_on_and_uses_no_try_up(home_project: Path, engine: ScriptedEngine) -> None:
    engine.holds[SHARD] = [LAG, LAG, LAG]

    ended = run(home_project)

    assert ended.state == "success"
    assert engine.asked.count(SHARD) == 4
    assert {one.try_number for one in instances(ended, f"{OP_2}.shard")} == {1}
    assert engine.noted == []


def test_nothing_after_a_held_shard_starts_before_it_is_done(
    home_project: Path,
    engine: ScriptedEngine,
) -> None:
    engine.holds[SHARD] = [LAG]
    engine.fails["shard", "upgrade", 2, 0] = Refused("its sibling fails")

    run(home_project)

    last = len(engine.asked) - 1 - engine.asked[::-1].index(SHARD)
    assert last < engine.asked.index(("settle", "upgrade")) < engine.asked.index(("way_down",))


@pytest.mark.parametrize("place", [("take_backup", "campus_auth"), ("shard", "upgrade", 1, 0), ("verify",)])
def test_any_task_can_be_held(
    home_project: Path,
    engine: ScriptedEngine,
    place: Any,
) -> None:
    engine.holds[place] = [LAG]

    assert run(home_project).state == "success"
    assert engine.asked.count(place) == 2


def test_one_transaction_can_be_held(home_project: Path, engine: ScriptedEngine) -> None:
    engine.holds["atomic", "upgrade"] = [LAG]

    assert run(home_project, "0001_accounts").state == "success"


# --- what is deferred, and what is said -------------------------------------------------------------------


def given_back(held: Held, *, pause: Pause | None = None, since: str | None = None, before: str = "") -> Any:
    """Return what the task is deferred with, and what its log says."""
    from lockstep.orchestration.holding import given_back as give_back

    said: list[str] = []
    desk: Any = SimpleNamespace(
        task=SimpleNamespace(ledger_run="run-1"),
        services=SimpleNamespace(
            ledger=SimpleNamespace(run=lambda run_id: SimpleNamespace(id=run_id, pause=pause)),
            environment=DEFAULT,
        ),
        log=SimpleNamespace(info=lambda event, **fields: said.append(event)),
    )
    return give_back(desk, held, since, before), said[0]


def test_a_hold_says_why_and_until_when_in_one_line() -> None:
    before = datetime.now(timezone.utc)
    deferred, said = given_back(Held("the window is closed", seconds=300))
    after = datetime.now(timezone.utc)

    assert said.startswith("HELD: the window is closed. Nothing failed; the worker is free until ")
    until = datetime.fromisoformat(deferred.trigger.until)
    assert before <= until - timedelta(seconds=300) <= after
    assert deferred.trigger.paused_run is None
    assert deferred.timeout is None
    assert deferred.method_name == "go_on"


def test_a_hold_that_goes_on_says_since_when() -> None:
    began = (datetime.now(timezone.utc) - timedelta(minutes=12)).isoformat()

    again, said = given_back(LAG, since=began, before=LAG.reason)
    other, anew = given_back(LAG, since=began, before="something else")

    assert "HELD, for 12 min now: replication lag" in said
    assert again.kwargs["since"] == began
    assert "for 12 min" not in anew
    assert other.kwargs["since"] != began


def test_a_pause_is_waited_for_and_not_a_moment() -> None:
    pause = Pause(by="ann", reason="exams", at=NOW)

    deferred, said = given_back(Held("ann paused the run", seconds=60), pause=pause)

    assert deferred.trigger.paused_run == "run-1"
    assert said.endswith("the worker is free until it is resumed.")
    path, arguments = deferred.trigger.serialize()
    assert path == "lockstep.orchestration.holding.HoldEnded"
    assert arguments == {
        "until": deferred.trigger.until,
        "paused_run": "run-1",
        "ledger": "lockstep_ledger",
    }


def fired(trigger: Any) -> Any:
    async def first() -> Any:
        return await anext(trigger.run())

    return asyncio.run(asyncio.wait_for(first(), 30))


def test_a_moment_that_is_past_fires_at_once() -> None:
    from lockstep.orchestration.holding import HoldEnded

    until = (NOW - timedelta(days=1)).isoformat()

    assert fired(HoldEnded(until)).payload == {"until": until}


def test_a_pause_ends_when_the_ledger_says_so_and_not_when_it_says_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from lockstep.orchestration import holding, wiring

    paused = SimpleNamespace(pause=Pause(by="ann", reason="", at=NOW))
    answers: list[Any] = [paused, Unavailable("down"), KeyError("no connection"), paused, replaced(paused)]

    def answer(run_id: str) -> Any:
        found = answers.pop(0)
        if isinstance(found, Exception):
            raise found
        return found

    monkeypatch.setattr(holding, "POLL", 0.01)
    monkeypatch.setattr(wiring, "ledger_at", lambda conn_id: SimpleNamespace(run=answer))

    fired(holding.HoldEnded(NOW.isoformat(), "run-1", "lockstep_ledger"))

    assert answers == []


def replaced(paused: Any) -> Any:
    return SimpleNamespace(**{**vars(paused), "pause": None})


def test_a_run_that_the_ledger_does_not_know_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    from lockstep.orchestration import holding, wiring

    def unknown(run_id: str) -> Any:
        raise Refused("there is no such run")

    monkeypatch.setattr(wiring, "ledger_at", lambda conn_id: SimpleNamespace(run=unknown))

    assert holding.still_paused("run-1", "lockstep_ledger") is False
