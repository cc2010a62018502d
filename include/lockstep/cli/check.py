"""`lockstep check`: load every revision and say what is wrong."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from lockstep.cli.commands import Commands
from lockstep.domain.chain import load_chain


def add_check(commands: Commands) -> None:
    check = commands.add_parser("check", help="load every revision and say what is wrong")
    check.set_defaults(run=_check)


def _check(given: argparse.Namespace, folder: Path) -> int:
    chain = load_chain(folder)
    for revision in chain.revisions:
        print(f"{revision.id}  {revision.transaction:8}  {revision.storage_type:24}  {revision.description}")
    for fault in chain.faults:
        print(f"lockstep: {fault}", file=sys.stderr)
    return 1 if chain.faults else 0
