"""Repair the e-mail addresses that people mistyped.

What was typed cannot be computed from what is right, so the way back is the journal's: every address that
the upgrade changed is kept there, in the transaction that changes it.
"""

from lockstep import ops
from resources import Users

revision = "0007"
down_revision = "0006"

WELL_FORMED = "^[a-z0-9_+-]+([.][a-z0-9_+-]+)*@[a-z0-9-]+([.][a-z0-9-]+)+$"


def upgrade():
    yield ops.transform_rows(Users, repair, columns=["email"])


def downgrade():
    yield ops.restore(Users)  # an address that its owner changed since stays as it is


def verify():
    yield ops.expect_none(Users, where=f"email !~ '{WELL_FORMED}'")


def repair(user):
    """Return the user with the address that was meant: 'Ada..L at X.EXAMPLE,' → 'ada.l@x.example'."""
    email = user["email"].strip(" ,").lower().replace(" at ", "@")
    while ".." in email:
        email = email.replace("..", ".")
    return {**user, "email": email}
