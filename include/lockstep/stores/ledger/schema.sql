-- The ledger's tables as they are now: the sum of migrations/, for people to read. A test compares the two.

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
    direction text NOT NULL CONSTRAINT _migration_runs_direction CHECK (
        direction IN ('upgrade', 'downgrade', 'restore', 'baseline', 'repair', 'accept')
    ),
    status text NOT NULL CONSTRAINT _migration_runs_status CHECK (
        status IN (
            'open', 'applied', 'applied_with_quarantine', 'rolled_back', 'downgraded', 'restored', 'stopped',
            'failed', 'nothing_to_do', 'baselined', 'repaired', 'checksum_accepted'
        )
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
    facts jsonb NOT NULL DEFAULT '{}',
    -- who wants it to wait between batches, and since when
    pause_by text,
    pause_reason text,
    paused_at timestamptz
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

-- Numbers that only rise: whoever holds the highest may write.
CREATE SEQUENCE _migration_epoch AS bigint;

-- One row a shard: a key range of one step, who works on it and how far they got.
CREATE TABLE _migration_shards (
    run_id text NOT NULL REFERENCES _migration_runs (id),
    phase text NOT NULL CONSTRAINT _migration_shards_phase CHECK (phase IN ('upgrade', 'downgrade', 'undo')),
    step integer NOT NULL,
    shard integer NOT NULL,
    label text NOT NULL,
    lower text,
    upper text,
    state text NOT NULL DEFAULT 'planned' CONSTRAINT _migration_shards_state CHECK (
        state IN ('planned', 'running', 'held', 'done')
    ),
    epoch bigint NOT NULL DEFAULT 0,
    holder text,
    claimed_at timestamptz,
    saved_at timestamptz,
    cursor text,
    batches bigint NOT NULL DEFAULT 0,
    read bigint NOT NULL DEFAULT 0,
    written bigint NOT NULL DEFAULT 0,
    inserted bigint NOT NULL DEFAULT 0,
    done boolean NOT NULL DEFAULT false,
    -- only these keys of the range, where it is not all of it
    keys jsonb,
    -- about how many records it holds, where anybody counted or sampled
    estimate bigint,
    -- records a second, of late
    rate double precision,
    -- what it waits for, while it is held
    held text,
    quarantined bigint NOT NULL DEFAULT 0,
    PRIMARY KEY (run_id, phase, step, shard)
);

-- One row a journaled batch: whoever inserts it has won the batch.
CREATE TABLE _migration_batches (
    run_id text NOT NULL,
    phase text NOT NULL,
    step integer NOT NULL,
    shard integer NOT NULL,
    batch bigint NOT NULL,
    -- the order in which batches were won, over all shards
    seq bigint GENERATED ALWAYS AS IDENTITY UNIQUE,
    state text NOT NULL CONSTRAINT _migration_batches_state CHECK (state IN ('won', 'applied', 'undone')),
    epoch bigint NOT NULL,
    path text NOT NULL,
    sha256 text NOT NULL,
    progress jsonb NOT NULL,
    won_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    closed_at timestamptz,
    PRIMARY KEY (run_id, phase, step, shard, batch),
    FOREIGN KEY (run_id, phase, step, shard) REFERENCES _migration_shards (run_id, phase, step, shard)
);

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

-- One row a backup of one database.
CREATE TABLE _migration_backups (
    run_id text NOT NULL REFERENCES _migration_runs (id),
    path text NOT NULL,
    conn_id text NOT NULL,
    manifest jsonb NOT NULL,
    saved_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    -- how it was proven; null for not at all
    proof text CONSTRAINT _migration_backups_proof CHECK (proof IN ('checksum', 'restore')),
    proven_at timestamptz,
    -- when somebody last looked whether it can be read, and what was wrong
    checked_at timestamptz,
    problem text,
    -- when its files were removed from the vault
    removed_at timestamptz,
    PRIMARY KEY (run_id, path)
);
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

-- Who allowed which revision to move, bound to what they were shown: a row for each answer that said yes.
CREATE TABLE _migration_approvals (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    revision text NOT NULL,
    direction text NOT NULL CONSTRAINT _migration_approvals_direction CHECK (direction IN ('upgrade', 'downgrade')),
    -- SHA-256 of the revision's file, and of the plan that was shown
    checksum text NOT NULL,
    plan_sha256 text NOT NULL,
    -- the rehearsal that was shown, and the SHA-256 of its report; null where there was none
    rehearsal_id text,
    report_sha256 text,
    -- what asked for it: the environment and its policy
    environment text NOT NULL,
    policy text NOT NULL,
    approved_by text NOT NULL,
    at timestamptz NOT NULL DEFAULT clock_timestamp(),
    dag_id text NOT NULL,
    dag_run_id text NOT NULL,
    -- since when it counts no more, and why
    voided_at timestamptz,
    voided_why text,
    CONSTRAINT _migration_approvals_report CHECK ((rehearsal_id IS NULL) = (report_sha256 IS NULL)),
    CONSTRAINT _migration_approvals_voided CHECK ((voided_at IS NULL) = (voided_why IS NULL))
);
CREATE INDEX _migration_approvals_revision ON _migration_approvals (revision, direction, id);

-- One row: what every change of state locks first, and where the history's hash chain ends.
CREATE TABLE _migration_chain (
    id boolean PRIMARY KEY DEFAULT true CONSTRAINT _migration_chain_one_row CHECK (id),
    last_id bigint NOT NULL DEFAULT 0,
    last_hash text NOT NULL DEFAULT ''
);
INSERT INTO _migration_chain DEFAULT VALUES;

-- What happened, in order, each entry sealed by the hash of the one before it. Ids have no gaps.
CREATE TABLE _migration_history (
    id bigint PRIMARY KEY,
    at timestamptz NOT NULL,
    revision text,
    run_id text,
    kind text NOT NULL,
    from_status text,
    to_status text,
    reason text,
    who text NOT NULL,
    detail jsonb NOT NULL,
    prev_hash text NOT NULL,
    hash text NOT NULL
);
CREATE INDEX _migration_history_revision ON _migration_history (revision, id);
CREATE INDEX _migration_history_run ON _migration_history (run_id, id) WHERE run_id IS NOT NULL;

CREATE FUNCTION _migration_history_is_append_only() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'the history of migrations is append-only: % refused', TG_OP
        USING ERRCODE = 'object_not_in_prerequisite_state',
              HINT = 'Write what is to be corrected as a new entry.';
END
$$;
CREATE TRIGGER _migration_history_append_only
    BEFORE UPDATE OR DELETE OR TRUNCATE ON _migration_history
    FOR EACH STATEMENT EXECUTE FUNCTION _migration_history_is_append_only();
-- Also where a session pretends to be a replica.
ALTER TABLE _migration_history ENABLE ALWAYS TRIGGER _migration_history_append_only;

-- An entry follows the chain's end, whoever appends it.
CREATE FUNCTION _migration_history_follows() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NOT EXISTS (
        SELECT FROM public._migration_chain WHERE last_id = NEW.id - 1 AND last_hash = NEW.prev_hash
    ) THEN
        RAISE EXCEPTION 'entry % of the history does not follow the end of its chain', NEW.id
            USING ERRCODE = 'object_not_in_prerequisite_state';
    END IF;
    RETURN NEW;
END
$$;
CREATE TRIGGER _migration_history_follows BEFORE INSERT ON _migration_history
    FOR EACH ROW EXECUTE FUNCTION _migration_history_follows();
ALTER TABLE _migration_history ENABLE ALWAYS TRIGGER _migration_history_follows;

-- The chain's end moves on to the entry that follows it, and never back.
CREATE FUNCTION _migration_chain_moves_on() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NEW.last_id <> OLD.last_id + 1 OR NOT EXISTS (
        SELECT FROM public._migration_history
        WHERE id = NEW.last_id AND hash = NEW.last_hash AND prev_hash = OLD.last_hash
    ) THEN
        RAISE EXCEPTION 'the end of the history''s chain moves on from entry % to the next one only', OLD.last_id
            USING ERRCODE = 'object_not_in_prerequisite_state';
    END IF;
    RETURN NEW;
END
$$;
CREATE TRIGGER _migration_chain_moves_on BEFORE UPDATE ON _migration_chain
    FOR EACH ROW EXECUTE FUNCTION _migration_chain_moves_on();
ALTER TABLE _migration_chain ENABLE ALWAYS TRIGGER _migration_chain_moves_on;
CREATE TRIGGER _migration_chain_stays
    BEFORE DELETE OR TRUNCATE ON _migration_chain
    FOR EACH STATEMENT EXECUTE FUNCTION _migration_history_is_append_only();
ALTER TABLE _migration_chain ENABLE ALWAYS TRIGGER _migration_chain_stays;

-- What of the history lies in the vault: one row for each object of JSON lines.
CREATE TABLE _migration_segments (
    path text PRIMARY KEY,
    first_id bigint NOT NULL,
    last_id bigint NOT NULL CONSTRAINT _migration_segments_order CHECK (first_id <= last_id),
    last_hash text NOT NULL,
    -- of the object's bytes
    sha256 text NOT NULL,
    at timestamptz NOT NULL DEFAULT clock_timestamp()
);
CREATE INDEX _migration_segments_last ON _migration_segments (last_id);
CREATE TRIGGER _migration_segments_append_only
    BEFORE UPDATE OR DELETE OR TRUNCATE ON _migration_segments
    FOR EACH STATEMENT EXECUTE FUNCTION _migration_history_is_append_only();
ALTER TABLE _migration_segments ENABLE ALWAYS TRIGGER _migration_segments_append_only;

-- Events that happened, in the order in which they did. Ids follow the order of commits.
CREATE TABLE _migration_outbox (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    event_id uuid NOT NULL UNIQUE,
    run_id text NOT NULL REFERENCES _migration_runs (id),
    label text NOT NULL,
    data jsonb NOT NULL,
    at timestamptz NOT NULL
);

-- How far each event got on its way to each sink.
CREATE TABLE _migration_deliveries (
    sink text NOT NULL,
    outbox_id bigint NOT NULL REFERENCES _migration_outbox (id),
    run_id text NOT NULL,
    attempts integer NOT NULL DEFAULT 0,
    tried_at timestamptz,
    delivered_at timestamptz,
    error text,
    -- not before then is it tried again
    next_try_at timestamptz,
    -- the sink said no: another try would hear the same until somebody mends it
    refused boolean NOT NULL DEFAULT false,
    -- when it was handed to what says only later whether it arrived, and to which task of Airflow
    handed_at timestamptz,
    handed_to text,
    PRIMARY KEY (sink, outbox_id)
);
CREATE INDEX _migration_deliveries_event ON _migration_deliveries (outbox_id);
CREATE INDEX _migration_deliveries_pending ON _migration_deliveries (sink, run_id, outbox_id)
    WHERE delivered_at IS NULL;
