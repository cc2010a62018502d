"""Airflow's REST API, as a program asks it that has to live through restarts and lost connections."""

from lockstep.stores.airflow.client import AirflowClient
from lockstep.stores.airflow.credentials import Credentials, credentials_from
from lockstep.stores.airflow.errors import AirflowAway, AirflowRefused, NoCredentials
from lockstep.stores.airflow.values import DagRun, TaskInstance

__all__ = [
    "AirflowAway",
    "AirflowClient",
    "AirflowRefused",
    "Credentials",
    "DagRun",
    "NoCredentials",
    "TaskInstance",
    "credentials_from",
]
