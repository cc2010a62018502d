"""A deploy from its first question to its answer."""

from __future__ import annotations

import time
from collections.abc import Callable

from lockstep.cli.deploying.answer import NO, UNASKED, Answer
from lockstep.cli.deploying.asked import MIGRATE, Asked
from lockstep.cli.deploying.ending import answer_for
from lockstep.cli.deploying.looking import Look, Observer
from lockstep.cli.deploying.screen import Screen
from lockstep.cli.deploying.starting import attach_or_start, refuse_paused
from lockstep.stores.airflow import AirflowAway, AirflowClient

#: seconds between two looks
EVERY = 1.5


class StillGoing(Exception):
    """The run takes longer than this follows it."""


def deploy(
    client: AirflowClient,
    asked: Asked,
    screen: Screen,
    *,
    patience: float,
    seconds: float | None,
    log_lines: int,
    sleep: Callable[[float], None] = time.sleep,
) -> Answer:
    """Start or attach, follow to the end, and say what came of it.

    Raises LockstepError where Airflow cannot be asked before there is a run.
    """
    refuse_paused(client)
    run = attach_or_start(client, asked, screen.say)
    client.patience = patience
    observer = Observer(client=client, run_id=run.run_id)
    try:
        look = _follow(observer, screen, seconds, sleep)
        return answer_for(client, asked, look, log_lines)
    except StillGoing:
        said = f"the run is not over after {(seconds or 0) / 60:g} min, and goes on"
        return _left(client, asked, run.run_id, said, NO)
    except KeyboardInterrupt:
        return _left(client, asked, run.run_id, "this stops following the run, which goes on", NO)
    except AirflowAway as away:
        said = f"{away} Nobody knows how far the run is; as far as Airflow lives, it goes on"
        return _left(client, asked, run.run_id, said, UNASKED)


def _follow(
    observer: Observer, screen: Screen, seconds: float | None, sleep: Callable[[float], None]
) -> Look:
    limit = None if seconds is None else time.monotonic() + seconds
    with screen.following():
        while True:
            look = observer.look(closely=screen.due)
            screen.update(look)
            if look.run.over:
                return look
            if limit is not None and time.monotonic() >= limit:
                raise StillGoing
            sleep(EVERY)


def _left(client: AirflowClient, asked: Asked, run_id: str, why: str, code: int) -> Answer:
    """Return the answer of a deploy that ends before its run."""
    url = client.run_url(MIGRATE, run_id)
    key = f"the same --key ({asked.key})" if not asked.dry_run else "another run of it"
    return Answer(
        exit=code,
        lines=(f"lockstep: {why}.", f"  see: {url}", f"  lockstep deploy with {key} follows it again"),
        state="unknown: the run goes on",
        target=asked.target,
        environment=asked.environment,
        run_id=run_id,
        url=url,
        error=why,
    )
