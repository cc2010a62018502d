"""`make demo`: every revision, from an empty ledger to head."""

from collections.abc import Sequence

from campus.shapes import Size
from lockstep.demo import report
from lockstep.demo.options import Options
from lockstep.demo.places import checkout
from lockstep.demo.progress import Step
from lockstep.demo.route import follow, run_name, seconds_of, trigger
from lockstep.demo.screen import Screen, steps_table
from lockstep.demo.session import Session, Wanted, opened
from lockstep.demo.staying import stay, who_may_log_in
from lockstep.demo.story import failure_story
from lockstep.embedded.airflow_api import DagRun


def run(options: Options, screen: Screen) -> int:
    """Bring the system up, migrate it to head, and return the exit status."""
    places = checkout()
    wanted = Wanted(
        root=options.root, places=places, migrations=places.migrations, size=Size(), asked=options.size
    )
    with opened(wanted, screen) as session:
        dag_run = trigger(session.airflow.api, "migrate", run_name(places.migrations), {"target": "head"})
        screen.say(f"Triggered {dag_run.dag_id} as user 'deploy': {dag_run.run_id}")
        dag_run, steps = follow(session, dag_run)
        good = dag_run.state == "success"
        tell(session, dag_run, steps)
        report.write(options.report, report.report(session, dag_run, steps, ok=good))
        who_may_log_in(session)
        if options.stay:
            stay(session)
    return 0 if good else 1


def tell(session: Session, dag_run: DagRun, steps: Sequence[Step]) -> None:
    """Say what was done, or what went wrong."""
    screen = session.screen
    screen.show(steps_table(tuple(steps), going=False, title="What the ledger holds"))
    if dag_run.state != "success":
        for line in failure_story(session.airflow.api, failed_run(session, dag_run, steps)):
            screen.say(line)
        screen.say(f"{dag_run.dag_id} is {dag_run.state}.", "bold red")
    elif not any(step.over for step in steps):
        screen.say("Nothing to do: every revision is applied already.", "bold green")
    else:
        moved = sum(step.over for step in steps)
        screen.say(f"{moved} revisions applied in {seconds_of(dag_run):.0f} s.", "bold green")


def failed_run(session: Session, dag_run: DagRun, steps: Sequence[Step]) -> DagRun:
    """Return the run of the revision that failed, or else the one that was triggered."""
    for step in steps:
        if step.state == "failed" and step.dag_run_id is not None:
            return session.airflow.api.run(step.dag_id, step.dag_run_id)
    return dag_run
