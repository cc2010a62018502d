"""`make demo-failure`: a revision that fails in its seventh batch, and what is left of it: nothing."""

import shutil
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from rich.table import Table
from rich.text import Text

from lockstep.demo import report, yapper
from lockstep.demo.checks import Check, ledger_says_why, nothing_changed, run_is_red, yapper_was_told
from lockstep.demo.errors import NotMigratedError, WrongSizeError
from lockstep.demo.options import Options
from lockstep.demo.places import Checkout, checkout
from lockstep.demo.progress import Step
from lockstep.demo.route import follow, trigger
from lockstep.demo.screen import Screen
from lockstep.demo.session import Session, Wanted, opened
from lockstep.demo.size import FAILING_SUBMISSIONS, FAILURE, scaled
from lockstep.demo.staying import stay, who_may_log_in
from lockstep.demo.story import failure_story
from lockstep.demo.success import tell
from lockstep.demo.witness import hashes
from lockstep.demo.yapper import Heard
from lockstep.domain.chain import revision_files
from lockstep.domain.revision import Revision
from lockstep.embedded.airflow_api import DagRun

SECONDS = 600.0
#: One shard of batches of 1,000, however fast the machine is: the seventh one is the seventh.
CONF = {"direction": "upgrade", "shards": 1, "batch_least": 1000, "batch_documents": 1000}


def run(options: Options, screen: Screen) -> int:
    """Show the failure; return 0 only if every check holds."""
    places = checkout()
    if options.size and scaled(FAILURE, options.size).submissions < FAILING_SUBMISSIONS:
        raise WrongSizeError(options.size, f"the failing batch needs {FAILING_SUBMISSIONS:,} submissions.")
    migrations = copy_revisions(places, options.root / "migrations")
    wanted = Wanted(root=options.root, places=places, migrations=migrations, size=FAILURE, asked=options.size)
    with opened(wanted, screen) as session:
        failing = session.chain.revisions[-1]
        steps = reach(session, str(failing.down_revision))
        before = hashes(places.witness, session.servers)
        last = yapper.last_event(session.servers.postgres_uri("campus_yapper"))
        dag_run = fail(session, failing)
        after = hashes(places.witness, session.servers)
        heard = yapper.events_after(session.servers.postgres_uri("campus_yapper"), last)
        checks = [
            run_is_red(dag_run),
            *nothing_changed(before, after),
            ledger_says_why(session, failing),
            yapper_was_told(session, heard),
        ]
        show(session, checks, heard)
        done = report.report(
            session, dag_run, steps, ok=all(check.holds for check in checks), before=before, after=after
        )
        report.write(options.report, {**done, "checks": [asdict(check) for check in checks]})
        if options.stay:
            who_may_log_in(session)
            stay(session)
    return 0 if all(check.holds for check in checks) else 1


def copy_revisions(places: Checkout, folder: Path) -> Path:
    """Make a folder of the example's revisions and the failing one after them; write only what differs."""
    folder.mkdir(parents=True, exist_ok=True)
    wanted = {path.name: path for path in (*revision_files(places.migrations), places.failing)}
    for path in revision_files(folder):
        if path.name not in wanted:
            path.unlink()
    for name, path in wanted.items():
        copy = folder / name
        if not copy.exists() or copy.read_bytes() != path.read_bytes():
            shutil.copy(path, copy)
    return folder


def reach(session: Session, target: str) -> tuple[Step, ...]:
    """Migrate to the revision before the failing one, and return what that took."""
    session.screen.say(f"First, migrate to revision {target}, as a deploy would:")
    conf = {"target": target}
    dag_run, steps = follow(session, trigger(session.airflow.api, "migrate", f"before-{target}", conf))
    tell(session, dag_run, steps)
    if dag_run.state != "success":
        raise NotMigratedError(dag_run.dag_id, dag_run.run_id, dag_run.state)
    return steps


def fail(session: Session, failing: Revision) -> DagRun:
    """Run the failing revision to its end, and show what its log says."""
    api, screen = session.airflow.api, session.screen
    screen.say(f"Now revision {failing.id}: {failing.description}")
    dag_run = trigger(api, failing.dag_id, "demo", CONF)
    with screen.waiting(f"{dag_run.dag_id} runs, fails and is undone…"):
        dag_run = api.wait(
            dag_run.dag_id, dag_run.run_id, seconds=SECONDS, look=lambda _: session.airflow.check()
        )
    for line in failure_story(api, dag_run):
        screen.say(line)
    return dag_run


def show(session: Session, checks: Sequence[Check], heard: Sequence[Heard]) -> None:
    """Draw what was checked, and what Yapper was told."""
    table = Table(title="After the failure", title_justify="left", title_style="bold", box=None)
    for heading in ("", "what", "seen"):
        table.add_column(heading, overflow="fold")
    for check in checks:
        mark, style = ("✓", "green") if check.holds else ("✗", "red")
        table.add_row(Text(mark, style), Text(check.what), Text(check.seen))
    session.screen.show(table)
    table = Table(title="In Yapper", title_justify="left", title_style="bold", box=None)
    for heading in ("event", "label", "unread by"):
        table.add_column(heading)
    for event in heard:
        table.add_row(str(event.id), event.label, ", ".join(event.unread_by))
    session.screen.show(table)
    good = all(check.holds for check in checks)
    said = "The revision failed, and nothing of it is left." if good else "Not everything is as it should be."
    session.screen.say(said, "bold green" if good else "bold red")
