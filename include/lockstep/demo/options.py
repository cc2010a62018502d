"""What was asked for on the command line."""

import argparse
from dataclasses import dataclass
from pathlib import Path

from lockstep.embedded.servers import DEFAULT_ROOT


@dataclass(frozen=True, kw_only=True)
class Options:
    """Say which demo to run, where, and how it ends."""

    failure: bool
    clean: bool
    root: Path
    #: SIZE as it was given; None for whatever is there, or else the default.
    size: str | None
    #: Whether to stay up at the end, until Ctrl-C.
    stay: bool
    #: Where to write what was done, as JSON.
    report: Path | None


def parse(argv: list[str] | None = None) -> Options:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="python -m lockstep.demo", description=__doc__)
    parser.add_argument("--failure", action="store_true", help="show a revision that fails and is undone")
    parser.add_argument("--clean", action="store_true", help="remove the data instead")
    parser.add_argument("--root", type=Path, help=f"where the data lives (default: {DEFAULT_ROOT})")
    parser.add_argument("--size", metavar="SIZE", help="multiplies the data: 0.1, 10, or 'small'")
    parser.add_argument("--exit", action="store_true", help="exit with a status instead of staying up")
    parser.add_argument("--stay", action="store_true", help="stay up after --failure")
    parser.add_argument("--report", type=Path, metavar="FILE", help="write what was done as JSON")
    given = parser.parse_args(argv)
    if given.exit and given.stay:
        parser.error("--exit and --stay exclude each other")
    return Options(
        failure=given.failure,
        clean=given.clean,
        root=(given.root or DEFAULT_ROOT / ("failure" if given.failure else "demo")).absolute()
        if not given.clean
        else (given.root or DEFAULT_ROOT).absolute(),
        size=given.size or None,
        stay=given.stay if given.failure else not given.exit,
        report=given.report,
    )
