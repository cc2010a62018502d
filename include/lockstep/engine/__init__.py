"""Use cases over ports: no driver, no Airflow."""
