-- A run may be a restore, which is neither a way up nor a way down.
ALTER TABLE _migration_runs
    DROP CONSTRAINT _migration_runs_direction,
    ADD CONSTRAINT _migration_runs_direction CHECK (direction IN ('upgrade', 'downgrade', 'restore')),
    DROP CONSTRAINT _migration_runs_status,
    ADD CONSTRAINT _migration_runs_status CHECK (
        status IN (
            'open', 'applied', 'applied_with_quarantine', 'rolled_back', 'downgraded', 'restored', 'stopped',
            'failed', 'nothing_to_do'
        )
    );

-- How a backup was proven, when somebody last looked whether it can be read, and when its files were removed.
ALTER TABLE _migration_backups
    ADD COLUMN proof text CONSTRAINT _migration_backups_proof CHECK (proof IN ('checksum', 'restore')),
    ADD COLUMN proven_at timestamptz,
    ADD COLUMN checked_at timestamptz,
    ADD COLUMN problem text,
    ADD COLUMN removed_at timestamptz;
UPDATE _migration_backups SET proof = 'checksum', proven_at = saved_at WHERE proven;
ALTER TABLE _migration_backups DROP COLUMN proven;
CREATE INDEX _migration_backups_saved ON _migration_backups (saved_at DESC) WHERE removed_at IS NULL;

-- What a revision took out of use and keeps, until housekeeping removes it or a downgrade takes it back.
CREATE TABLE _migration_parked (
    conn_id text NOT NULL,
    -- the name it has now, in its own store
    parked_as text NOT NULL,
    kind text NOT NULL CONSTRAINT _migration_parked_kind CHECK (kind IN ('table', 'column', 'collection', 'objects')),
    resource text NOT NULL,
    revision text,
    run_id text REFERENCES _migration_runs (id),
    bytes bigint,
    records bigint,
    parked_at timestamptz NOT NULL,
    seen_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    gone_at timestamptz,
    gone_why text,
    PRIMARY KEY (conn_id, parked_as, parked_at)
);

-- The shape that a database had when a run ended: what the live one is compared with.
CREATE TABLE _migration_shapes (
    conn_id text NOT NULL,
    run_id text NOT NULL REFERENCES _migration_runs (id),
    at timestamptz NOT NULL DEFAULT clock_timestamp(),
    -- object, such as "table users" or "index users_email" → how it is defined
    shape jsonb NOT NULL,
    PRIMARY KEY (conn_id, run_id)
);
CREATE INDEX _migration_shapes_latest ON _migration_shapes (conn_id, at DESC);

-- One row a rehearsal: a plan tried on a copy.
CREATE TABLE _migration_rehearsals (
    id text PRIMARY KEY,
    seq bigint GENERATED ALWAYS AS IDENTITY UNIQUE,
    target text NOT NULL,
    verdict text CONSTRAINT _migration_rehearsals_verdict CHECK (verdict IN ('green', 'red', 'stopped')),
    dag_id text NOT NULL,
    dag_run_id text NOT NULL,
    asked_by text NOT NULL,
    started_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    ended_at timestamptz,
    -- revision → checksum of the file that was rehearsed
    revisions jsonb NOT NULL DEFAULT '{}',
    params jsonb NOT NULL DEFAULT '{}',
    -- where the report lies in the vault, and its SHA-256
    report_path text,
    report_sha256 text,
    -- revision → seconds predicted for the live data: {"seconds", "low", "high"}
    predicted jsonb NOT NULL DEFAULT '{}',
    facts jsonb NOT NULL DEFAULT '{}'
);
CREATE INDEX _migration_rehearsals_caller ON _migration_rehearsals (dag_id, dag_run_id);

-- What a rehearsal had predicted, and what the real run took.
CREATE TABLE _migration_predictions (
    rehearsal_id text NOT NULL REFERENCES _migration_rehearsals (id),
    run_id text NOT NULL REFERENCES _migration_runs (id),
    revision text NOT NULL,
    predicted_seconds double precision NOT NULL,
    low_seconds double precision NOT NULL,
    high_seconds double precision NOT NULL,
    actual_seconds double precision NOT NULL,
    at timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (rehearsal_id, run_id)
);
