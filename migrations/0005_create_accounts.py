"""Create users and sessions in a database that has none yet.

Campus was there before its revisions: a database that is in use has both tables already, and this changes
nothing in it. An empty one gets what the revisions after this need to start.
"""

from lockstep import ops
from resources import Auth, Sessions, Users

revision = "0005"
down_revision = "0004"
lint_ignore = {"blocking-index": "a database in use has this index, and IF NOT EXISTS passes it by"}

DROP_IF_EMPTY = "DO $$ BEGIN IF NOT EXISTS (SELECT FROM {0}) THEN DROP TABLE {0}; END IF; END $$"


def upgrade():
    yield ops.sql(
        Auth,
        """CREATE TABLE IF NOT EXISTS users (
            id text PRIMARY KEY, email text NOT NULL, name text NOT NULL, created_at timestamptz NOT NULL,
            activated_at timestamptz)""",
        """CREATE TABLE IF NOT EXISTS sessions (
            id text PRIMARY KEY, user_id text NOT NULL, client_id text NOT NULL,
            expires_at timestamptz NOT NULL, created_at timestamptz NOT NULL)""",
        "CREATE INDEX IF NOT EXISTS sessions_user_id ON sessions (user_id)",
        touches=[Users, Sessions],
    )


def downgrade():
    # A table with rows stays: they are people's, and it may have been there before. An empty one goes.
    drops = [DROP_IF_EMPTY.format(name) for name in ("sessions", "users")]
    yield ops.sql(Auth, *drops, touches=[Users, Sessions])


def verify():
    yield ops.expect_none(Users, where="email = ''")
