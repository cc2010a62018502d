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
