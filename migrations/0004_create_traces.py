"""Create the table of API traces, with partial and GIN indexes built CONCURRENTLY."""

from lockstep import ops
from resources import Api, Traces

revision = "0004"
down_revision = "0003"
lint_ignore = {"squawk:prefer-bigint-over-int": "the status of an HTTP answer has three digits"}

INVALID = "SELECT count(*) FROM pg_index WHERE indrelid = 'public.traces'::regclass AND NOT indisvalid"


def upgrade():
    yield ops.sql(
        Api,
        """CREATE TABLE traces (
            id text PRIMARY KEY, created_at timestamptz NOT NULL, method text NOT NULL, path text NOT NULL,
            status integer NOT NULL, seconds double precision, client_id text, headers jsonb, tags text[])""",
        touches=Traces,
    )
    yield ops.sql_outside_transaction(
        Api,
        "CREATE INDEX CONCURRENTLY IF NOT EXISTS traces_errors ON traces (created_at) WHERE status >= 500",
        "CREATE INDEX CONCURRENTLY IF NOT EXISTS traces_slow ON traces (seconds) WHERE seconds > 1",
        "CREATE INDEX CONCURRENTLY IF NOT EXISTS traces_headers ON traces USING gin (headers)",
        "CREATE INDEX CONCURRENTLY IF NOT EXISTS traces_tags ON traces USING gin (tags)",
        touches=Traces,
    )


def downgrade():
    yield ops.drop_table(Traces)  # its indexes go with it


def verify():
    yield ops.check(indexes_are_valid, touches=Traces)


def indexes_are_valid(hands):
    [invalid] = hands.open(Traces).execute(INVALID).fetchone()
    return f"{invalid} of its indexes are INVALID" if invalid else None
