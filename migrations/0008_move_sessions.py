"""Move sessions from their table into a collection."""

from lockstep import ops
from resources import LiveSessions, Sessions

revision = "0008"
down_revision = "0007"


def upgrade():
    yield ops.create_collection(LiveSessions)
    yield ops.copy(Sessions, LiveSessions)  # a row's id becomes its document's _id
    yield ops.create_index(LiveSessions, "user_id")
    yield ops.drop_table(Sessions)  # parked, until housekeeping removes it


def downgrade():
    """Take the table back as it was, and bring the sessions that were opened since into it.

    A session that was closed since is in the table, and open again until it expires.
    """
    yield ops.restore(Sessions)
    yield ops.copy(LiveSessions, Sessions)
    yield ops.drop_collection(LiveSessions)


def verify():
    yield ops.expect_none(LiveSessions, where={"user_id": {"$exists": False}})
    yield ops.expect_none(LiveSessions, where={"expires_at": {"$exists": False}})
