"""`lockstep lint`: what may hurt a database in use, or be regretted at a downgrade."""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import asdict
from pathlib import Path

from lockstep.cli.commands import Commands
from lockstep.domain.chain import load_chain
from lockstep.engine.linting import Severity, lint


def add_lint(commands: Commands) -> None:
    lint = commands.add_parser(
        "lint", help="say what may hurt a database in use, or be regretted at a downgrade"
    )
    lint.add_argument("revision", nargs="*", help="ids; without one the whole chain")
    lint.add_argument("--all", action="store_true", help="show the locks that each operation takes, too")
    lint.add_argument("--json", action="store_true", help="print a JSON list of all findings")
    lint.set_defaults(run=_lint)


def _lint(given: argparse.Namespace, folder: Path) -> int:
    """Print findings; return 1 where one is an error, or a file cannot be used."""
    chain = load_chain(folder)
    chosen = [chain[revision] for revision in given.revision] or chain.revisions
    found = [(revision.id, finding) for revision in chosen for finding in lint(revision)]
    if given.json:
        print(json.dumps([{"revision": number, **asdict(finding)} for number, finding in found], indent=2))
    else:
        shown = [finding for _, finding in found if given.all or finding.severity is not Severity.INFO]
        for finding in shown:
            print(finding)
        print(f"{len(chosen)} revision(s), {len(shown)} finding(s)")
    for fault in chain.faults:
        print(f"lockstep: {fault}", file=sys.stderr)
    return 1 if chain.faults or any(finding.severity is Severity.ERROR for _, finding in found) else 0
