"""Create assignments, with the three that every new school starts with.

All of it is in one PostgreSQL database and none of it is batched, so it is one transaction.
"""

from datetime import datetime, timezone

from lockstep import ops
from resources import Api, Assignments

revision = "0001"
down_revision = None

TITLES = {"asg-welcome": "Say hello", "asg-honesty": "Academic honesty", "asg-survey": "How do you learn?"}
START = datetime(2024, 9, 1, tzinfo=timezone.utc)


def upgrade():
    yield ops.sql(
        Api,
        """CREATE TABLE assignments (
            id text PRIMARY KEY, created_at timestamptz NOT NULL, title text NOT NULL, description text,
            questions jsonb NOT NULL DEFAULT '[]', created_by text NOT NULL, updated_at timestamptz,
            classroom_links jsonb NOT NULL DEFAULT '[]')""",
        "CREATE INDEX assignments_created_by ON assignments (created_by)",
        "CREATE INDEX assignments_created_at ON assignments (created_at)",
        "CREATE INDEX assignments_classroom_links ON assignments USING gin (classroom_links)",
        touches=Assignments,
    )
    yield ops.insert_rows(Assignments, [starter(key, title) for key, title in TITLES.items()])


def downgrade():
    yield ops.drop_table(Assignments)  # parked, with every assignment that was written since


def verify():
    yield ops.expect_count(Assignments, len(TITLES), where="created_by = 'uid-system-campus'")


def starter(key, title):
    return {"id": key, "created_at": START, "title": title, "created_by": "uid-system-campus"}
