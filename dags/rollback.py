"""Airflow finds the DAG `rollback` here."""

from lockstep.orchestration.project import migrations_folder, prefer_include
from lockstep.orchestration.rollback import build_rollback

prefer_include(__file__)
dag = build_rollback(migrations_folder(__file__))
