"""`lockstep pools`: the pools of the project's databases, for Airflow to import."""

from __future__ import annotations

import argparse
import importlib
import json
import sys
from pathlib import Path

from lockstep.cli.commands import Commands
from lockstep.domain.chain import load_chain
from lockstep.domain.declared_environments import declared_environments
from lockstep.domain.pools import SLOTS, SWITCH, pools
from lockstep.domain.resources import Bucket, Mongo, Postgres


def add_pools(commands: Commands) -> None:
    listed = commands.add_parser(
        "pools", help=f"print the pools of the project's databases, for `airflow pools import` and {SWITCH}=1"
    )
    listed.add_argument(
        "--slots", type=_slots, default=SLOTS, help=f"tasks that write to one database at a time ({SLOTS})"
    )
    listed.set_defaults(run=_pools)


def _slots(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no number of slots: write 1 or more")
    return int(text)


def _pools(given: argparse.Namespace, folder: Path) -> int:
    """Print a pool for each database that a revision uses or that resources.py declares.

    One that is declared may be in the next revision, whose tasks would wait for ever for a pool that is missing.
    Where the project has several environments each has its own, beside the one that a DAG's file names.
    """
    chain = load_chain(folder)
    used = {database.conn_id for revision in chain.revisions for database in revision.databases}
    logical = used | _declared()
    mapped = {one.conn_id(conn_id) for one in declared_environments() for conn_id in logical}
    print(json.dumps(pools(logical | mapped, given.slots), indent=2))
    for fault in chain.faults:
        print(f"lockstep: its databases may lack a pool: {fault}", file=sys.stderr)
    return 0


def _declared() -> set[str]:
    try:
        found = vars(importlib.import_module("resources")).values()
    except ImportError:
        return set()
    return {one.conn_id for one in found if isinstance(one, (Postgres, Mongo, Bucket))}
