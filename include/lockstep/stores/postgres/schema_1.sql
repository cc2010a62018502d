-- Lockstep's own schema inside a database that it migrates, version 1.
-- Not plain "lockstep": for a role of that name PostgreSQL would look there first, and create there.

CREATE SCHEMA lockstep_state;

CREATE TABLE lockstep_state.schema_version (
    version integer PRIMARY KEY,
    made_at timestamptz NOT NULL DEFAULT now()
);

-- How far each shard got: written in the same transaction as the rows that it speaks of.
CREATE TABLE lockstep_state.checkpoints (
    run_id text NOT NULL,
    phase text NOT NULL,
    step integer NOT NULL,
    shard integer NOT NULL,
    epoch bigint NOT NULL,
    cursor text,
    batches bigint NOT NULL DEFAULT 0,
    read bigint NOT NULL DEFAULT 0,
    written bigint NOT NULL DEFAULT 0,
    inserted bigint NOT NULL DEFAULT 0,
    done boolean NOT NULL DEFAULT false,
    updated_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (run_id, phase, step, shard)
);

-- The epoch below which nothing of a run may write, shards that nobody has claimed yet included.
CREATE TABLE lockstep_state.fences (
    run_id text PRIMARY KEY,
    epoch bigint NOT NULL
);

-- What each step overwrote, inserted or parked, so that it can be taken back exactly.
CREATE TABLE lockstep_state.journal (
    id bigserial PRIMARY KEY,
    run_id text NOT NULL,
    step integer NOT NULL,
    shard integer NOT NULL,
    kind text NOT NULL CHECK (kind IN ('update', 'insert', 'park_table', 'park_column')),
    schema_name text NOT NULL,
    table_name text NOT NULL,
    -- array of the key columns' text forms; null for what is parked
    key jsonb,
    -- column to text form, of the columns written; null for an insert; what is needed to unpark
    before jsonb,
    -- column to text form, as the step left it
    after jsonb,
    taken_back boolean NOT NULL DEFAULT false,
    -- found changed when it was to be taken back, and left alone
    conflict boolean NOT NULL DEFAULT false,
    written_at timestamptz NOT NULL DEFAULT now()
);

CREATE INDEX journal_to_take_back ON lockstep_state.journal (run_id, step, id) WHERE NOT taken_back;

CREATE SCHEMA lockstep_parked;

INSERT INTO lockstep_state.schema_version (version) VALUES (1);
