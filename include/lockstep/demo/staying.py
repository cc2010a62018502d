"""Stay up for a person to look around, until Ctrl-C."""

import time

from rich.table import Table

from lockstep.demo.session import Session
from lockstep.embedded.airflow_home import USERS

EVERY = 1.0


def who_may_log_in(session: Session) -> None:
    """Say where Airflow's UI is, and with which names and passwords one gets in."""
    table = Table(
        title=f"Airflow: {session.airflow.base_url}", title_justify="left", title_style="bold", box=None
    )
    for heading in ("user", "password", "role"):
        table.add_column(heading)
    for user, role in USERS.items():
        table.add_row(user, session.airflow.home.passwords[user], role)
    session.screen.show(table)


def stay(session: Session) -> None:
    """Return when Ctrl-C is pressed; raise if a part of the system ends by itself."""
    session.screen.say("Press Ctrl-C to stop everything.")
    try:
        while True:
            session.airflow.check()
            time.sleep(EVERY)
    except KeyboardInterrupt:
        session.screen.say("Stopping…")
