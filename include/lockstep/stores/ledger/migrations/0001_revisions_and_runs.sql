-- Which version of the ledger's own schema is installed, and when each came.
CREATE TABLE _migration_schema (
    version integer PRIMARY KEY,
    name text NOT NULL,
    installed_at timestamptz NOT NULL DEFAULT clock_timestamp()
);

-- One row a revision: where it stands in this environment.
CREATE TABLE _migrations (
    id text PRIMARY KEY,
    description text NOT NULL,
    storage_type text NOT NULL,
    status text NOT NULL DEFAULT 'pending' CONSTRAINT _migrations_status CHECK (
        status IN ('pending', 'upgrading', 'applied', 'rolling_back', 'rolled_back', 'failed')
    ),
    applied_at timestamptz,
    rollback_at timestamptz,
    error_message text,
    checksum text NOT NULL,
    down_revision text,
    applied_run text,
    last_run text,
    updated_at timestamptz NOT NULL DEFAULT clock_timestamp()
);

-- One row a run: one attempt to move one revision one step.
CREATE TABLE _migration_runs (
    id text PRIMARY KEY,
    seq bigint GENERATED ALWAYS AS IDENTITY UNIQUE,
    revision text NOT NULL,
    direction text NOT NULL CONSTRAINT _migration_runs_direction CHECK (direction IN ('upgrade', 'downgrade')),
    status text NOT NULL CONSTRAINT _migration_runs_status CHECK (
        status IN ('open', 'applied', 'rolled_back', 'downgraded', 'stopped', 'failed', 'nothing_to_do')
    ),
    dag_id text NOT NULL,
    dag_run_id text NOT NULL,
    called_by text NOT NULL,
    parent text,
    checksum text NOT NULL,
    started_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    ended_at timestamptz,
    params jsonb NOT NULL DEFAULT '{}',
    backed_up boolean NOT NULL DEFAULT false,
    source_run text,
    error text,
    epoch bigint NOT NULL DEFAULT 1,
    facts jsonb NOT NULL DEFAULT '{}'
);
CREATE INDEX _migration_runs_revision ON _migration_runs (revision, seq);
-- At most one run is open on the chain.
CREATE UNIQUE INDEX _migration_runs_one_open ON _migration_runs (status) WHERE status = 'open';

-- Every Airflow run that opened a run or took it over; the latest is the one in _migration_runs.
CREATE TABLE _migration_callers (
    dag_id text NOT NULL,
    dag_run_id text NOT NULL,
    run_id text NOT NULL REFERENCES _migration_runs (id),
    at timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (dag_id, dag_run_id, run_id)
);

-- Who works on a run, and until when nobody else may.
CREATE TABLE _migration_leases (
    run_id text PRIMARY KEY REFERENCES _migration_runs (id),
    epoch bigint NOT NULL,
    holder text NOT NULL,
    renewed_at timestamptz NOT NULL,
    expires_at timestamptz NOT NULL
);
