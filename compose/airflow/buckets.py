"""Make the buckets that the S3 connections name, and refuse a server that lets strangers read them."""

import json
import os
import sys

import boto3
from botocore import UNSIGNED
from botocore.config import Config
from botocore.exceptions import ClientError

CONNECTIONS = ("AIRFLOW_CONN_CAMPUS_OBJECTS", "AIRFLOW_CONN_LOCKSTEP_VAULT")


def ensure_bucket(client, bucket):
    """Create `bucket` unless it is there, and say which."""
    try:
        client.head_bucket(Bucket=bucket)
    except ClientError as error:
        if error.response["ResponseMetadata"]["HTTPStatusCode"] != 404:
            raise
        client.create_bucket(Bucket=bucket)
        return "made"
    return "there already"


def is_private(client, bucket):
    """Say whether a request without credentials is refused."""
    try:
        client.list_objects_v2(Bucket=bucket, MaxKeys=1)
    except ClientError as error:
        return error.response["ResponseMetadata"]["HTTPStatusCode"] in (401, 403)
    return False


def main():
    for name in CONNECTIONS:
        connection = json.loads(os.environ[name])
        extra = connection["extra"]
        bucket = extra["service_config"]["s3"]["bucket_name"]
        where = {"endpoint_url": extra["endpoint_url"], "region_name": extra["region_name"]}
        signed = boto3.client(
            "s3",
            aws_access_key_id=connection["login"],
            aws_secret_access_key=connection["password"],
            **where,
        )
        sys.stdout.write(f"Bucket {bucket}: {ensure_bucket(signed, bucket)}.\n")
        # The server takes its keys from its environment; without them it would serve anyone.
        if not is_private(boto3.client("s3", config=Config(signature_version=UNSIGNED), **where), bucket):
            sys.exit(f"Bucket {bucket} answers requests without credentials. Give the S3 server its keys.")


if __name__ == "__main__":
    main()
