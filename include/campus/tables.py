"""The tables that Campus has before the first revision, and who listens to Yapper."""

AUTH = """
CREATE TABLE users (
    id text PRIMARY KEY,
    email text NOT NULL,
    name text NOT NULL,
    created_at timestamptz NOT NULL,
    activated_at timestamptz
);
CREATE TABLE sessions (
    id text PRIMARY KEY,
    user_id text NOT NULL,
    client_id text NOT NULL,
    expires_at timestamptz NOT NULL,
    created_at timestamptz NOT NULL
);
CREATE INDEX sessions_user_id ON sessions (user_id);
"""

#: Yapper's own tables, as its production backend makes them.
YAPPER = """
CREATE TABLE events (
    id bigserial PRIMARY KEY,
    label text NOT NULL,
    data text,
    created_at timestamp NOT NULL DEFAULT (now() AT TIME ZONE 'utc')
);
CREATE TABLE subscriptions (
    client_id text NOT NULL,
    label text NOT NULL,
    created_at timestamp NOT NULL DEFAULT (now() AT TIME ZONE 'utc'),
    PRIMARY KEY (client_id, label)
);
CREATE TABLE unread (
    client_id text NOT NULL,
    label text NOT NULL,
    event_id bigint NOT NULL REFERENCES events (id),
    PRIMARY KEY (client_id, label, event_id),
    FOREIGN KEY (client_id, label) REFERENCES subscriptions (client_id, label)
);
"""

SUBSCRIBERS = ("audit-log", "ops-dashboard")
SUBSCRIBED = (
    "migration.started",
    "migration.backed_up",
    "migration.applied",
    "migration.rolled_back",
    "migration.failed",
)
