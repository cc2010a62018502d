"""Airflow finds the DAG `housekeeping` here."""

from lockstep.orchestration.housekeeping import build_housekeeping
from lockstep.orchestration.project import migrations_folder, prefer_include

prefer_include(__file__)
dag = build_housekeeping(migrations_folder(__file__))
