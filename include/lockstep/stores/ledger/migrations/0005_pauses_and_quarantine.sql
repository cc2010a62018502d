-- A run may end with records left as they were, and wait between batches while a person wants it to.
ALTER TABLE _migration_runs
    ADD COLUMN pause_by text,
    ADD COLUMN pause_reason text,
    ADD COLUMN paused_at timestamptz,
    DROP CONSTRAINT _migration_runs_status,
    ADD CONSTRAINT _migration_runs_status CHECK (
        status IN (
            'open', 'applied', 'applied_with_quarantine', 'rolled_back', 'downgraded', 'stopped', 'failed',
            'nothing_to_do'
        )
    );

-- How large a shard is, as far as anybody counted; how fast it goes; what it waits for.
ALTER TABLE _migration_shards
    ADD COLUMN keys jsonb,
    ADD COLUMN estimate bigint,
    ADD COLUMN rate double precision,
    ADD COLUMN held text,
    ADD COLUMN quarantined bigint NOT NULL DEFAULT 0,
    DROP CONSTRAINT _migration_shards_state,
    ADD CONSTRAINT _migration_shards_state CHECK (state IN ('planned', 'running', 'held', 'done'));

-- Records that a run left as they were, since their function or their server refused them.
CREATE TABLE _migration_quarantine (
    run_id text NOT NULL,
    phase text NOT NULL,
    step integer NOT NULL,
    shard integer NOT NULL,
    key text NOT NULL,
    shown text NOT NULL,
    conn_id text NOT NULL,
    resource text NOT NULL,
    error text NOT NULL,
    at timestamptz NOT NULL DEFAULT clock_timestamp(),
    -- the run that tried it again and has it now, carried or listed
    resolved_by text REFERENCES _migration_runs (id),
    PRIMARY KEY (run_id, phase, step, shard, key),
    FOREIGN KEY (run_id, phase, step, shard) REFERENCES _migration_shards (run_id, phase, step, shard)
);
CREATE INDEX _migration_quarantine_waiting ON _migration_quarantine (run_id) WHERE resolved_by IS NULL;
