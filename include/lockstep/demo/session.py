"""Bring the whole system up, and take it down again."""

import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

from campus.shapes import Size
from lockstep.demo.data import fill_once, size_for
from lockstep.demo.errors import BrokenDagsError
from lockstep.demo.places import Checkout
from lockstep.demo.screen import Screen
from lockstep.demo.size import words
from lockstep.domain.chain import Chain, load_chain
from lockstep.domain.errors import ChainFaults
from lockstep.embedded import Servers, running
from lockstep.embedded.airflow import Airflow, start_airflow, stop_airflow, wait_until_up
from lockstep.stores.ledger import PostgresLedger


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """Say what to bring up."""

    root: Path
    places: Checkout
    #: The folder of revisions; one that is made when the session begins may lie below the root.
    migrations: Path
    size: Size
    #: SIZE as it was given, if it was.
    asked: str | None


@dataclass(frozen=True, kw_only=True)
class Session:
    """Hold what is up."""

    servers: Servers
    airflow: Airflow
    ledger: PostgresLedger
    chain: Chain
    size: Size
    screen: Screen
    #: What took how many seconds.
    seconds: dict[str, float]


@contextmanager
def opened(wanted: Wanted, screen: Screen) -> Iterator[Session]:
    """Run servers and Airflow for the length of a block, which begins when everything is filled and up."""
    size = size_for(wanted.root, wanted.size, wanted.asked)
    chain = _chain(wanted.migrations)
    seconds: dict[str, float] = {}
    screen.say("Starting PostgreSQL, a MongoDB-protocol server, an S3 server and Airflow…")
    began = time.monotonic()
    with (
        running(wanted.root) as servers,
        _airflow(servers, wanted) as airflow,
        closing(PostgresLedger(servers.postgres_uri("campus_admin"))) as ledger,
    ):
        seconds["servers"] = time.monotonic() - began
        # Airflow's start is one processor's work for the most part; another makes the data meanwhile.
        screen.say(f"Campus has {words(size)}.")
        if not fill_once(servers, size):
            screen.say("Its data is there already.")
        seconds["data"] = time.monotonic() - began - seconds["servers"]
        ledger.check()
        wait_until_up(airflow, servers, needed_dags(chain))
        _refuse_broken(airflow)
        seconds["airflow"] = time.monotonic() - began
        screen.say(f"Airflow is up at {airflow.base_url} after {seconds['airflow']:.0f} s.")
        yield Session(
            servers=servers,
            airflow=airflow,
            ledger=ledger,
            chain=chain,
            size=size,
            screen=screen,
            seconds=seconds,
        )


def needed_dags(chain: Chain) -> list[str]:
    """Return the ids of the DAGs that have to be there."""
    return ["migrate", "rollback", *(revision.dag_id for revision in chain.revisions)]


@contextmanager
def _airflow(servers: Servers, wanted: Wanted) -> Iterator[Airflow]:
    airflow = start_airflow(
        servers, dags=wanted.places.dags, plugins=wanted.places.plugins, migrations=wanted.migrations
    )
    try:
        yield airflow
    finally:
        stop_airflow(airflow)


def _chain(migrations: Path) -> Chain:
    chain = load_chain(migrations)
    if chain.faults:
        raise BrokenDagsError([str(ChainFaults(chain.faults))])
    return chain


def _refuse_broken(airflow: Airflow) -> None:
    problems = [f"{one.file}:\n{one.text}" for one in airflow.api.import_errors()]
    if problems:
        raise BrokenDagsError(problems)
