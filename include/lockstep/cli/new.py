"""`lockstep new`: write the next revision's file."""

from __future__ import annotations

import argparse
import re
from pathlib import Path

from lockstep.cli.commands import Commands
from lockstep.domain.chain import Chain, load_chain

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


def add_new(commands: Commands) -> None:
    new = commands.add_parser("new", help="write the next revision's file")
    new.add_argument("description", help='what it does, such as "Add users.display_name"')
    new.set_defaults(run=_new)


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
