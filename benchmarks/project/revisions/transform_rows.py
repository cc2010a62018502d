"""Fill display_name by a Python function."""

from lockstep import ops
from resources import People

revision = "0001"
down_revision = None

COLUMNS = ["first_name", "last_name", "display_name"]


def upgrade():
    yield ops.transform_rows(People, name, columns=COLUMNS, reverse=unname)


def downgrade():
    yield ops.transform_rows(People, unname, columns=COLUMNS, reverse=name)


def verify():
    yield ops.expect_none(People, where="display_name IS NULL")


def name(person):
    return {**person, "display_name": f"{person['first_name']} {person['last_name'].upper()}"}


def unname(person):
    return {**person, "display_name": None}
