-- When a delivery that failed is tried again, whether its sink refused it, and which task of Airflow carries an
-- event to a sink that says only later whether it arrived.
ALTER TABLE _migration_deliveries
    ADD COLUMN next_try_at timestamptz,
    ADD COLUMN refused boolean NOT NULL DEFAULT false,
    ADD COLUMN handed_at timestamptz,
    ADD COLUMN handed_to text;
