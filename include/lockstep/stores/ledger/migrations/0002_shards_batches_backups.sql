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
        state IN ('planned', 'running', 'done')
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

-- One row a backup of one database.
CREATE TABLE _migration_backups (
    run_id text NOT NULL REFERENCES _migration_runs (id),
    path text NOT NULL,
    conn_id text NOT NULL,
    manifest jsonb NOT NULL,
    proven boolean NOT NULL DEFAULT false,
    saved_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (run_id, path)
);
