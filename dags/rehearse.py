"""Airflow finds the DAG `rehearse` here."""

from lockstep.orchestration.project import migrations_folder, prefer_include
from lockstep.orchestration.rehearse import build_rehearse

prefer_include(__file__)
dag = build_rehearse(migrations_folder(__file__))
