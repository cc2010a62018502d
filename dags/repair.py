"""Airflow finds the DAG `repair` here."""

from lockstep.orchestration.care import build_repair
from lockstep.orchestration.project import migrations_folder, prefer_include

prefer_include(__file__)
dag = build_repair(migrations_folder(__file__))
