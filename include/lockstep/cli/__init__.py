"""A small command for authors and pipelines: begin a revision, check and lint the chain, show a plan, deploy.

Operating needs none of it: runs are started in Airflow's UI or through its API. One command a file.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from lockstep.cli.audit import add_audit
from lockstep.cli.check import add_check
from lockstep.cli.deploy import add_deploy
from lockstep.cli.lint import add_lint
from lockstep.cli.new import add_new
from lockstep.cli.plan import add_plan
from lockstep.cli.pools import add_pools
from lockstep.domain.errors import LockstepError

_COMMANDS = (add_new, add_check, add_lint, add_plan, add_pools, add_deploy, add_audit)


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
    for add in _COMMANDS:
        add(commands)
    return parser
