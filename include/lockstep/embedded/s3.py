"""The embedded S3 server: moto, made to keep its objects."""

import sys
from pathlib import Path

from lockstep.embedded.process import Child, Spec, listens

HOST = "127.0.0.1"
REGION = "us-east-1"
BUCKETS = ("campus", "lockstep-vault")
#: The server listens on loopback only and checks no signature, but a client will not sign without a pair.
ACCESS_KEY = "lockstep"
SECRET_KEY = "lockstep-embedded"  # noqa: S105


def spec(root: Path, port: int) -> Spec:
    """Say how to run the server."""
    data = root / "s3"
    options = ("--port", str(port), "--data-dir", str(data))
    return Spec(
        name="s3",
        command=(sys.executable, "-m", "lockstep.embedded.moto_server", *options),
        data=data,
        log=root / "logs" / "s3.log",
        record=root / "run" / "s3.json",
    )


def endpoint(port: int) -> str:
    """Return the server's address."""
    return f"http://{HOST}:{port}"


def ready(child: Child, port: int) -> bool:
    """Tell whether the server listens; it does so only when everything is loaded."""
    return listens(child, port)


def create_missing_buckets(port: int) -> None:
    """Create the buckets that are not there."""
    import boto3

    client = boto3.client(
        "s3",
        endpoint_url=endpoint(port),
        region_name=REGION,
        aws_access_key_id=ACCESS_KEY,
        aws_secret_access_key=SECRET_KEY,
    )
    try:
        there = {bucket["Name"] for bucket in client.list_buckets()["Buckets"]}
        for name in BUCKETS:
            if name not in there:
                client.create_bucket(Bucket=name)
    finally:
        client.close()
