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
