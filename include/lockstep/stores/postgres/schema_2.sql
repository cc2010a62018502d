-- Version 2: how many records a shard left as they were. The ledger lists them.

ALTER TABLE lockstep_state.checkpoints ADD COLUMN quarantined bigint NOT NULL DEFAULT 0;

INSERT INTO lockstep_state.schema_version (version) VALUES (2);
