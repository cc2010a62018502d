-- Version 2: records that a run leaves as they were, since their function or the server refuses them.

ALTER TABLE lockstep_state.checkpoints ADD COLUMN quarantined bigint NOT NULL DEFAULT 0;

-- Committed with the batch that passes the records by.
CREATE TABLE lockstep_state.quarantine (
    run_id text NOT NULL,
    phase text NOT NULL,
    step integer NOT NULL,
    shard integer NOT NULL,
    -- the record's place in the key order
    key text NOT NULL,
    -- the key as people write it
    shown text NOT NULL,
    error text NOT NULL,
    at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (run_id, phase, step, shard, key)
);

INSERT INTO lockstep_state.schema_version (version) VALUES (2);
