"""Tell those who wait for a rehearsal how it stands. Whoever cannot be reached does not fail it."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from typing import Any

from lockstep.domain.announcement import Announcement, State
from lockstep.domain.errors import LockstepError, Unavailable
from lockstep.domain.rehearsal import Rehearsal
from lockstep.engine.ports import Announcer
from lockstep.engine.services import Services


@dataclass(frozen=True, kw_only=True)
class Insistence:
    """How long an announcer is tried again, and with which pauses. Seconds."""

    seconds: float = 60.0
    first_pause: float = 1.0
    most_pause: float = 15.0


@dataclass(frozen=True, kw_only=True)
class _Came:
    """What came of one announcer."""

    arrived: bool
    said: str
    keep: Mapping[str, Any]


def announce(
    services: Services,
    rehearsal: Rehearsal,
    state: State,
    *,
    url: str,
    text: str,
    insistence: Insistence | None = None,
    sleep: Callable[[float], None] = time.sleep,
) -> list[str]:
    """Tell every announcer, one after the other; return what was sent where, and what failed.

    The same goes into the log and, with what each announcer has to know later, into the rehearsal's facts.
    An announcer that does not answer is tried again for a bounded time. Raises only what the ledger raises.
    """
    current = services.ledger.rehearsal(rehearsal.id)
    kept: dict[str, Any] = dict(current.facts.get("announcers") or {})
    at = current.started_at if state == "pending" else current.ended_at or datetime.now(timezone.utc)
    news = Announcement(rehearsal=current, state=state, url=url, text=text, at=at)
    told = []
    for announcer in services.announcers():
        own = replace(news, kept=kept.get(announcer.name) or {})
        came = _insist(services, announcer, own, insistence or Insistence(), sleep)
        if came.keep:
            kept[announcer.name] = dict(came.keep)
        told.append(_noted(services, announcer, state, came))
    if told:
        before = list(current.facts.get("announced") or [])
        services.ledger.change_rehearsal(
            current.id, facts={"announced": [*before, *told], "announcers": kept}
        )
    return [f"{one['to']}: {one['said']}" for one in told]


def _insist(
    services: Services,
    announcer: Announcer,
    news: Announcement,
    insistence: Insistence,
    sleep: Callable[[float], None],
) -> _Came:
    """Try until it arrives, is refused, or has taken long enough."""
    began, tries = time.monotonic(), 0
    while True:
        tries += 1
        try:
            sent = announcer.send(news, tried_before=tries > 1)
            return _Came(arrived=True, said=sent.said, keep={**news.kept, **sent.keep})
        except LockstepError as problem:
            news = replace(news, kept={**news.kept, **problem.fields.get("keep", {})})
            if not isinstance(problem, Unavailable):
                return _Came(arrived=False, said=str(problem), keep=news.kept)
            pause, took = _pause(insistence, tries, problem), time.monotonic() - began
            if took + pause > insistence.seconds:
                said = f"{problem} Tried {tries} time(s) in {took:.0f} s."
                return _Came(arrived=False, said=said, keep=news.kept)
            services.log.warning(f"{announcer.name}: {problem} Trying again in {pause:.1f} s.")
        except Exception as problem:
            # What a foreign exception says may hold an address with a token in it.
            return _Came(arrived=False, said=f"it failed with {type(problem).__name__}.", keep=news.kept)
        sleep(pause)


def _pause(insistence: Insistence, tries: int, problem: Unavailable) -> float:
    """Return the seconds until the next try: what the other side asks for, or twice as long each time."""
    asked = problem.fields.get("retry_after")
    if asked is not None:
        return float(asked)
    pause = min(insistence.most_pause, insistence.first_pause * 2.0 ** (tries - 1))
    return pause * random.uniform(0.5, 1.0)  # noqa: S311 - jitter


def _noted(services: Services, announcer: Announcer, state: State, came: _Came) -> dict[str, Any]:
    """Say what came of an announcer in the log; return it as the rehearsal's facts keep it."""
    if came.arrived:
        said = came.said
        services.log.info(f"{announcer.name}: {said}")
    else:
        said = f"not told of {state}: {came.said}"
        services.log.warning(f"{announcer.name}: {said} The rehearsal is as it is without it.")
    at = datetime.now(timezone.utc).isoformat(timespec="seconds")
    return {"to": announcer.name, "state": state, "arrived": came.arrived, "said": said, "at": at}
