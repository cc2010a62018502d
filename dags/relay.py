"""Airflow finds the DAG `relay` here, one for each environment."""

from lockstep.orchestration.project import migrations_folder, prefer_include
from lockstep.orchestration.relay import build_relays

prefer_include(__file__)
globals().update(build_relays(migrations_folder(__file__)))
