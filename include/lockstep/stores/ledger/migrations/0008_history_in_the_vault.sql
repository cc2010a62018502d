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

CREATE INDEX _migration_history_run ON _migration_history (run_id, id) WHERE run_id IS NOT NULL;

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
