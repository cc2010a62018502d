"""Airflow finds the DAG `accept_checksum` here."""

from lockstep.orchestration.care import build_accept_checksum
from lockstep.orchestration.project import migrations_folder, prefer_include

prefer_include(__file__)
dag = build_accept_checksum(migrations_folder(__file__))
