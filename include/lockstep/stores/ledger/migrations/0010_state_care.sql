-- What a person decides about the state of a revision has a run of its own: who, why, and in which Airflow run.
ALTER TABLE _migration_runs DROP CONSTRAINT _migration_runs_direction;
ALTER TABLE _migration_runs ADD CONSTRAINT _migration_runs_direction CHECK (
    direction IN ('upgrade', 'downgrade', 'restore', 'baseline', 'repair', 'accept')
);
ALTER TABLE _migration_runs DROP CONSTRAINT _migration_runs_status;
ALTER TABLE _migration_runs ADD CONSTRAINT _migration_runs_status CHECK (
    status IN (
        'open', 'applied', 'applied_with_quarantine', 'rolled_back', 'downgraded', 'restored', 'stopped',
        'failed', 'nothing_to_do', 'baselined', 'repaired', 'checksum_accepted'
    )
);
