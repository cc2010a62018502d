"""A small command for authors and pipelines: begin a revision, check and lint the chain, show a plan, list the pools.

Operating needs none of it: runs are started in Airflow's UI or through its API.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import re
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from lockstep.domain.chain import Chain, load_chain
from lockstep.domain.errors import LockstepError
from lockstep.domain.operations.base import Operation
from lockstep.domain.pools import SLOTS, SWITCH, pools
from lockstep.domain.resources import Bucket, Mongo, Postgres
from lockstep.domain.revision import Direction, Revision
from lockstep.engine.linting import Severity, lint

TEMPLATE = '''"""{description}."""

from lockstep import ops
from resources import ...  # the tables, collections and prefixes that it touches

revision = "{revision}"
down_revision = {parent!r}


def upgrade():
    yield ops....


def downgrade():
    yield ops....
'''


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; return 0, or 1 where the chain has faults or the request cannot be met."""
    parser = _parser()
    given = parser.parse_args(arguments)
    folder = Path(given.migrations)
    # A project's resources.py lies beside its migrations folder, in include/.
    sys.path.insert(0, str(folder.resolve().parent / "include"))
    try:
        return int(given.run(given, folder))
    except LockstepError as problem:
        print(f"lockstep: {problem}", file=sys.stderr)
        return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="lockstep", description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument(
        "--migrations",
        default=os.environ.get("LOCKSTEP_MIGRATIONS", "migrations"),
        help="the folder of revisions (default: LOCKSTEP_MIGRATIONS, or ./migrations)",
    )
    commands = parser.add_subparsers(required=True, metavar="command")
    new = commands.add_parser("new", help="write the next revision's file")
    new.add_argument("description", help='what it does, such as "Add users.display_name"')
    new.set_defaults(run=_new)
    check = commands.add_parser("check", help="load every revision and say what is wrong")
    check.set_defaults(run=_check)
    lint = commands.add_parser(
        "lint", help="say what may hurt a database in use, or be regretted at a downgrade"
    )
    lint.add_argument("revision", nargs="*", help="ids; without one the whole chain")
    lint.add_argument("--all", action="store_true", help="show the locks that each operation takes, too")
    lint.add_argument("--json", action="store_true", help="print a JSON list of all findings")
    lint.set_defaults(run=_lint)
    plan = commands.add_parser("plan", help="show what a revision would do")
    plan.add_argument("revision", help="its id")
    plan.set_defaults(run=_plan)
    listed = commands.add_parser(
        "pools", help=f"print the pools of the project's databases, for `airflow pools import` and {SWITCH}=1"
    )
    listed.add_argument(
        "--slots", type=_slots, default=SLOTS, help=f"tasks that write to one database at a time ({SLOTS})"
    )
    listed.set_defaults(run=_pools)
    return parser


def _slots(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no number of slots: write 1 or more")
    return int(text)


def _new(given: argparse.Namespace, folder: Path) -> int:
    chain = load_chain(folder)
    head = chain.head if chain.revisions or chain.faults else None
    number = _next_number(chain)
    words = re.sub(r"[^a-z0-9]+", "_", given.description.lower()).strip("_") or "step"
    path = folder / f"{number}_{words[:60]}.py"
    description = given.description.strip().rstrip(".")
    path.write_text(TEMPLATE.format(description=description, revision=number, parent=head), encoding="utf-8")
    print(f"wrote {path}: fill in its resources and operations, then run: lockstep check")
    return 0


def _next_number(chain: Chain) -> str:
    """Return the number after the highest, as wide as the others."""
    numbers = [revision.id for revision in chain.revisions if revision.id.isdigit()]
    highest = max((int(number) for number in numbers), default=0)
    width = max((len(number) for number in numbers), default=4)
    return f"{highest + 1:0{width}}"


def _check(given: argparse.Namespace, folder: Path) -> int:
    chain = load_chain(folder)
    for revision in chain.revisions:
        print(f"{revision.id}  {revision.transaction:8}  {revision.storage_type:24}  {revision.description}")
    for fault in chain.faults:
        print(f"lockstep: {fault}", file=sys.stderr)
    return 1 if chain.faults else 0


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


def _pools(given: argparse.Namespace, folder: Path) -> int:
    """Print a pool for each database that a revision uses or that resources.py declares.

    One that is declared may be in the next revision, whose tasks would wait for ever for a pool that is missing.
    """
    chain = load_chain(folder)
    used = {database.conn_id for revision in chain.revisions for database in revision.databases}
    print(json.dumps(pools(used | _declared(), given.slots), indent=2))
    for fault in chain.faults:
        print(f"lockstep: its databases may lack a pool: {fault}", file=sys.stderr)
    return 0


def _declared() -> set[str]:
    try:
        found = vars(importlib.import_module("resources")).values()
    except ImportError:
        return set()
    return {one.conn_id for one in found if isinstance(one, (Postgres, Mongo, Bucket))}


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


if __name__ == "__main__":
    raise SystemExit(main())
