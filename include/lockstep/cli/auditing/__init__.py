"""What `lockstep audit` needs: the way to ledger and vault without Airflow, and how a history is shown."""
