"""Airflow finds the DAG `migrate` here."""

from lockstep.orchestration.migrate import build_migrate
from lockstep.orchestration.project import migrations_folder, prefer_include

prefer_include(__file__)
dag = build_migrate(migrations_folder(__file__))
