"""Fill display_name by an SQL expression."""

from lockstep import ops
from resources import People

revision = "0001"
down_revision = None


def upgrade():
    yield ops.update_rows(
        People,
        {"display_name": "first_name || ' ' || upper(last_name)"},
        reverse={"display_name": "NULL"},
    )


def downgrade():
    yield ops.update_rows(
        People,
        {"display_name": "NULL"},
        reverse={"display_name": "first_name || ' ' || upper(last_name)"},
    )


def verify():
    yield ops.expect_none(People, where="display_name IS NULL")
