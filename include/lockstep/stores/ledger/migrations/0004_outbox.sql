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
    PRIMARY KEY (sink, outbox_id)
);
CREATE INDEX _migration_deliveries_event ON _migration_deliveries (outbox_id);
CREATE INDEX _migration_deliveries_pending ON _migration_deliveries (sink, run_id, outbox_id)
    WHERE delivered_at IS NULL;
