"""`lockstep deploy`: ask Airflow for a target, follow the run, and answer yes or no."""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from lockstep.cli.commands import Commands
from lockstep.domain.errors import LockstepError

if TYPE_CHECKING:
    from lockstep.cli.deploying.answer import Answer

URL = "LOCKSTEP_AIRFLOW_URL"
#: seconds without an answer: at first, and once there is a run to follow
CONTACT, PATIENCE = 30.0, 300.0
LOG_LINES = 30
#: the database is at the target; it is not; nobody could be asked
YES, NO, UNASKED = 0, 1, 2

_ABOUT = f"""\
Ask Airflow to bring the databases to a target, follow the run, and answer.

exit status:
  {YES}  the databases are at the target
  {NO}  they are not: what was printed says which state they are in
  {UNASKED}  Airflow could not be asked: it is away, the credentials are no good, `migrate` is missing or paused

credentials, from the environment only:
  LOCKSTEP_AIRFLOW_TOKEN or LOCKSTEP_AIRFLOW_TOKEN_FILE, or
  LOCKSTEP_AIRFLOW_USERNAME with LOCKSTEP_AIRFLOW_PASSWORD or LOCKSTEP_AIRFLOW_PASSWORD_FILE
"""


def add_deploy(commands: Commands) -> None:
    deploy = commands.add_parser(
        "deploy",
        help="ask Airflow for a target, follow the run, and answer yes or no",
        description=_ABOUT,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    deploy.add_argument("--airflow", default=os.environ.get(URL), help=f"its address (default: {URL})")
    deploy.add_argument("--target", default="head", help="a revision's id, or head (the default)")
    deploy.add_argument("--environment", help="whose databases; without it what Airflow's form means")
    deploy.add_argument(
        "--key",
        help="what is the same for a re-run, which then attaches (default: commit and pipeline of GitHub or GitLab)",
    )
    deploy.add_argument(
        "--conf",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="another parameter of migrate, as JSON or a word",
    )
    deploy.add_argument("--note", help="kept with the run in the ledger (default: the pipeline's address)")
    deploy.add_argument(
        "--dry-run", action="store_true", help="print the plan for this database; change nothing"
    )
    deploy.add_argument("--timeout", type=_positive, metavar="MINUTES", help="how long to follow the run")
    deploy.add_argument(
        "--patience",
        type=_positive,
        default=PATIENCE,
        metavar="SECONDS",
        help=f"how long Airflow may be away while the run is followed ({PATIENCE:.0f})",
    )
    deploy.add_argument(
        "--contact",
        type=_positive,
        default=CONTACT,
        metavar="SECONDS",
        help=f"how long it may be away at first ({CONTACT:.0f})",
    )
    deploy.add_argument(
        "--log-lines", type=int, default=LOG_LINES, help=f"lines of the failed task's log ({LOG_LINES})"
    )
    deploy.add_argument(
        "--json", action="store_true", help="print the answer as JSON, and the rest on stderr"
    )
    deploy.set_defaults(run=_deploy)


def _positive(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not value > 0:
        raise argparse.ArgumentTypeError(f"{text!r} is no length of time: write a number above 0")
    return value


def _deploy(given: argparse.Namespace, folder: Path) -> int:
    from lockstep.cli.deploying.answer import unasked

    try:
        with _told_to_end():
            answer = _ask(given, os.environ)
    except LockstepError as problem:
        answer = unasked(str(problem))
    except KeyboardInterrupt:
        answer = unasked(
            "interrupted before there was a run to follow. If one was started, the same --key attaches."
        )
    for line in answer.lines:
        print(line, file=sys.stdout if answer.exit == YES and not given.json else sys.stderr)
    if given.json:
        print(json.dumps(answer.facts(), indent=2, ensure_ascii=False))
    return answer.exit


def _ask(given: argparse.Namespace, environ: Mapping[str, str]) -> Answer:
    """Do it all; raises LockstepError where Airflow cannot be asked."""
    from lockstep.cli.deploying.asked import asked_for
    from lockstep.cli.deploying.doing import deploy
    from lockstep.cli.deploying.screen import screen_for
    from lockstep.domain.errors import Refused
    from lockstep.stores.airflow import AirflowClient, credentials_from

    if not given.airflow:
        raise Refused(f"where is Airflow? Set {URL}, or give --airflow.")
    asked = asked_for(
        target=given.target,
        environment=given.environment,
        key=given.key,
        conf=given.conf,
        note=given.note,
        dry_run=given.dry_run,
        environ=environ,
    )
    screen = screen_for(plain=given.json, stream=sys.stderr if given.json else sys.stdout)
    client = AirflowClient(
        given.airflow, credentials_from(environ), patience=given.contact, lost=screen.lost_contact
    )
    with closing(client):
        return deploy(
            client,
            asked,
            screen,
            patience=given.patience,
            seconds=None if given.timeout is None else given.timeout * 60,
            log_lines=max(given.log_lines, 0),
        )


@contextmanager
def _told_to_end() -> Iterator[None]:
    """Let a pipeline that is cancelled hear what becomes of its run, as one that is interrupted does."""

    def interrupted(signum: int, frame: Any) -> NoReturn:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupted)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
