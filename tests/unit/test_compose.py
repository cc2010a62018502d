"""The compose stack says what it needs, keeps its secrets out, and names only settings that exist."""

import importlib.util
import json
import os
import re
import subprocess
from pathlib import Path

import pytest
import yaml

from lockstep.resources import Bucket, Mongo, Postgres

ROOT = Path(__file__).parents[2]
TUNED = ROOT / "include/lockstep/orchestration/airflow.env"

#: conn id → the type that the wiring expects
CONNECTIONS = {
    "campus_auth": "postgres",
    "campus_api": "postgres",
    "lockstep_ledger": "postgres",
    "lockstep_yapper": "postgres",
    "campus_documents": "mongo",
    "campus_objects": "aws",
    "lockstep_vault": "aws",
}
#: the celery provider is in the image only, so its options are listed here
CELERY = {
    "celery": {"broker_url", "worker_concurrency"},
    "celery_broker_transport_options": {"visibility_timeout"},
}
SECRET_NAME = re.compile(r"PASSWORD|SECRET|FERNET|KEY$|AUTH$|KEY_ID$|CONN$|BROKER_URL$")
#: settings whose names look secret and whose values are not
NOT_SECRET = {"AIRFLOW__CORE__AUTH_MANAGER"}
REFERENCE = re.compile(r"(?<!\$)\$\{(?P<name>\w+)(?P<rest>[^}]*)\}")


@pytest.fixture(scope="module")
def compose():
    return yaml.safe_load((ROOT / "docker-compose.yml").read_text())


@pytest.fixture(scope="module")
def services(compose):
    return compose["services"]


@pytest.fixture(scope="module")
def example():
    """Return the names in .env.example: those to fill in, and those with a default."""
    text = (ROOT / ".env.example").read_text()
    return set(re.findall(r"^(\w+)=$", text, re.M)), set(re.findall(r"^#(\w+)=\S+$", text, re.M))


@pytest.fixture(scope="module")
def airflow_options():
    """Return section → options, as the installed Airflow's own configuration file lists them."""
    airflow = importlib.util.find_spec("airflow")  # found, not imported: that takes seconds
    assert airflow
    settings = Path(airflow.submodule_search_locations[0]) / "config_templates/config.yml"
    listed = yaml.safe_load(settings.read_text())
    return {section: set(body["options"]) for section, body in listed.items()} | CELERY


def environment(service):
    return {name: str(value) for name, value in (service.get("environment") or {}).items()}


def filled(value):
    """Return a value as `docker compose` would, with a stand-in for each secret."""
    return REFERENCE.sub(lambda found: found["rest"].partition(":-")[2] or "0123abcd", value)


def tuned():
    lines = TUNED.read_text().splitlines()
    return dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))


def test_a_service_that_stays_has_a_health_check_and_one_that_ends_is_not_restarted(services):
    for name, service in services.items():
        if service.get("restart") == "no":
            assert "healthcheck" not in service, name
        else:
            assert service["restart"] == "unless-stopped", name
            assert service["healthcheck"]["test"][0] in ("CMD", "CMD-SHELL"), name


def test_dependencies_exist_and_wait_for_the_right_thing(services):
    for name, service in services.items():
        for wanted, how in service.get("depends_on", {}).items():
            ends = services[wanted].get("restart") == "no"
            expected = "service_completed_successfully" if ends else "service_healthy"
            assert how == {"condition": expected}, f"{name} on {wanted}"


def test_nothing_depends_on_itself_through_others(services):
    def needs(name, seen=()):
        assert name not in seen, (*seen, name)
        for wanted in services[name].get("depends_on", {}):
            needs(wanted, (*seen, name))

    for name in services:
        needs(name)


def test_volumes_and_networks_are_declared(compose, services):
    for name, service in services.items():
        assert set(service.get("networks", [])) <= set(compose["networks"]), name
        for volume in service.get("volumes", []):
            source = volume.split(":")[0]
            assert source in compose["volumes"] or (ROOT / source).is_file(), f"{name}: {source}"


def test_the_stores_cannot_be_reached_from_outside(compose, services):
    assert compose["networks"]["stores"]["internal"] is True
    assert [name for name, service in services.items() if "ports" in service] == ["airflow-apiserver"]
    for name in ("postgres", "mongo", "objects", "redis"):
        assert services[name]["networks"] == ["stores"], name
    assert services["airflow-apiserver"]["ports"] == ["${AIRFLOW_BIND:-127.0.0.1}:${AIRFLOW_PORT:-8080}:8080"]


def test_no_secret_is_written_out(services):
    for service_name, service in services.items():
        for name, value in environment(service).items():
            if SECRET_NAME.search(name) and name not in NOT_SECRET:
                assert REFERENCE.search(value), f"{service_name}: {name}"


def test_no_secret_is_on_a_command_line(services, example):
    to_fill_in, _ = example
    for name, service in services.items():
        check = service.get("healthcheck", {}).get("test")
        for arguments in (service.get("command"), service.get("entrypoint"), check):
            substituted = {found["name"] for found in REFERENCE.finditer(json.dumps(arguments))}
            assert not substituted & to_fill_in, name


def test_a_missing_secret_stops_the_start_and_everything_else_has_a_default(example):
    to_fill_in, optional = example
    text = (ROOT / "docker-compose.yml").read_text()
    for found in REFERENCE.finditer(text):
        if found["name"] in to_fill_in:
            assert found["rest"].startswith(":?"), found[0]
        elif found["name"] in optional:
            assert found["rest"].startswith(":-"), found[0]
        elif found["name"] not in ("NAME", "HOSTNAME"):  # the header's rule; the container's own
            pytest.fail(f"{found[0]} is not in .env.example")
    used = {found["name"] for found in REFERENCE.finditer(text)}
    assert to_fill_in | optional <= used


def test_the_example_holds_no_value_for_a_secret(example):
    to_fill_in, optional = example
    assert not to_fill_in & optional
    assert not [name for name in optional if SECRET_NAME.search(name)]


def test_every_airflow_setting_exists(services, airflow_options):
    named = set(tuned())
    for service in services.values():
        named |= {name for name in environment(service) if name.startswith("AIRFLOW__")}
    assert len(named) > 20
    for name in sorted(named):
        _, section, option = name.lower().split("__", 2)
        assert option in airflow_options.get(section, ()), name


def test_the_tuned_settings_are_plain_lines_with_a_reason_each():
    lines = TUNED.read_text().splitlines()
    for number, line in enumerate(lines):
        if line and not line.startswith("#"):
            assert re.fullmatch(r"AIRFLOW__[A-Z_]+__[A-Z_]+=[\w.]+", line), line
            assert lines[number - 1].startswith("# "), f"{line} has no reason above it"


def test_a_killed_task_is_noticed_in_time_for_its_retry():
    settings = tuned()
    timeout = int(settings["AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT"])
    check = int(settings["AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT_DETECTION_INTERVAL"])
    beat = int(settings["AIRFLOW__WORKERS__MIN_HEARTBEAT_INTERVAL"])
    assert timeout + check + 30 < 90, "thirty seconds of retry delay, and ten to start"
    assert timeout >= 30 * beat, "a few lost beats must not look like a death"
    # A worker that cannot reach the API gives up before somebody else is sent in.
    assert int(settings["AIRFLOW__WORKERS__MAX_FAILED_HEARTBEATS"]) * beat < timeout


def test_every_airflow_service_has_the_tuned_settings_and_the_same_secrets(services):
    ours = {name: service for name, service in services.items() if name.startswith("airflow-")}
    assert len(ours) == 6
    shared = environment(ours["airflow-scheduler"])
    for name, service in ours.items():
        assert service["env_file"] == [str(TUNED.relative_to(ROOT))], name
        assert shared.items() <= environment(service).items(), name


@pytest.mark.parametrize(("conn_id", "conn_type"), CONNECTIONS.items())
def test_a_connection_is_json_of_the_right_type(services, conn_id, conn_type):
    value = environment(services["airflow-worker"])[f"AIRFLOW_CONN_{conn_id.upper()}"]
    connection = json.loads(filled(value))
    assert connection["conn_type"] == conn_type
    assert connection["login"]
    assert connection["password"] == "0123abcd"
    if conn_type == "aws":
        assert connection["extra"]["service_config"]["s3"]["bucket_name"]
        assert connection["extra"]["endpoint_url"].startswith("http://objects:")
    else:
        assert connection["host"] in services
        assert connection["schema"]


def test_no_other_connection_is_defined(services):
    found = {name for name in environment(services["airflow-worker"]) if name.startswith("AIRFLOW_CONN_")}
    assert found == {f"AIRFLOW_CONN_{conn_id.upper()}" for conn_id in CONNECTIONS}


def test_every_conn_id_that_the_resources_use_is_there():
    import resources

    declared = vars(resources).values()
    databases = [getattr(value, "database", value) for value in declared]
    used = {value.conn_id for value in databases if isinstance(value, (Postgres, Mongo, Bucket))}
    assert used
    assert used <= set(CONNECTIONS)


def test_each_database_of_a_connection_is_made_at_first_start(services):
    script = (ROOT / "compose/postgres/10-databases.sql").read_text()
    made = set(re.findall(r"^CREATE DATABASE (\w+)", script, re.M))
    for name, value in environment(services["airflow-worker"]).items():
        if '"postgres"' in value and name.startswith("AIRFLOW_CONN_"):
            assert json.loads(filled(value))["schema"] in made, name
    assert "airflow" in made


def test_pg_dump_is_as_new_as_the_server(services):
    server = re.match(r"postgres:(\d+)", services["postgres"]["image"])[1]
    default = re.search(r"^ARG POSTGRES_MAJOR=(\d+)", (ROOT / "Dockerfile").read_text(), re.M)[1]
    ours = [service for service in services.values() if "build" in service]
    assert {service["build"]["args"]["POSTGRES_MAJOR"] for service in ours} == {server} == {default}


def test_images_are_pinned(services):
    for name, service in services.items():
        assert re.search(r":[\w.-]*\d", filled(service["image"])), name
        assert "latest" not in service["image"], name


def test_only_what_the_image_copies_enters_the_build():
    allowed = set(re.findall(r"^!(\S+)", (ROOT / ".dockerignore").read_text(), re.M))
    copies = re.findall(r"^COPY --chown=\S+ (.+) \S+$", (ROOT / "Dockerfile").read_text(), re.M)
    assert {source for line in copies for source in line.split()} == allowed


@pytest.mark.parametrize("script", sorted((ROOT / "compose").rglob("*.sh")), ids=lambda path: path.name)
def test_a_script_is_executable_and_parses(script):
    assert os.access(script, os.X_OK)
    subprocess.run(["bash", "-n", script], check=True)
