"""`lockstep plan`: what a revision would do."""

from __future__ import annotations

import argparse
from pathlib import Path

from lockstep.cli.commands import Commands
from lockstep.domain.chain import load_chain
from lockstep.domain.operations.base import Operation
from lockstep.domain.revision import Direction, Revision


def add_plan(commands: Commands) -> None:
    plan = commands.add_parser("plan", help="show what a revision would do")
    plan.add_argument("revision", help="its id")
    plan.set_defaults(run=_plan)


def _plan(given: argparse.Namespace, folder: Path) -> int:
    revision = load_chain(folder)[given.revision]
    print(f"{revision.id} — {revision.description}")
    print(
        f"  file         {revision.file} (SHA-256 {revision.checksum[:12]}…), after {revision.down_revision}"
    )
    print(f"  transaction  {revision.transaction}")
    print(f"  backs up     {', '.join(map(str, revision.touched))}")
    for direction in ("upgrade", "downgrade"):
        _print_operations(revision, direction)
    for expectation in revision.expectations:
        print(f"  verifies     {expectation.describe()}")
    return 0


def _print_operations(revision: Revision, direction: Direction) -> None:
    for number, operation in enumerate(revision.operations(direction), 1):
        print(f"  {direction} {number}: {operation.describe()}")
        if direction == "upgrade":
            print(f"             {_manner(operation)}")


def _manner(operation: Operation) -> str:
    shape = "in shards and batches" if operation.batched else "in one stroke"
    return f"{shape}; after a failure {operation.way_back.value}"
