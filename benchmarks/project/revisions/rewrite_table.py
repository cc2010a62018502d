"""Fill display_name by writing the table anew."""

from lockstep import ops
from resources import People

revision = "0001"
down_revision = None


def upgrade():
    yield ops.rewrite_table(People, {"display_name": "first_name || ' ' || upper(last_name)"}, downtime=True)


def downgrade():
    yield ops.restore(People)


def verify():
    yield ops.expect_none(People, where="display_name IS NULL")
