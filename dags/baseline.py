"""Airflow finds the DAG `baseline` here."""

from lockstep.orchestration.care import build_baseline
from lockstep.orchestration.project import migrations_folder, prefer_include

prefer_include(__file__)
dag = build_baseline(migrations_folder(__file__))
