"""Airflow finds the DAG `restore` here."""

from lockstep.orchestration.project import migrations_folder, prefer_include
from lockstep.orchestration.restore import build_restore

prefer_include(__file__)
dag = build_restore(migrations_folder(__file__))
