"""Exit 0 if the API server hears the heartbeat of the Airflow component named, such as `triggerer`.

For health checks. `airflow jobs check` asks the same of the database, and takes nine seconds of processor
time to import Airflow first. With several copies of a component, one that lives is enough.
"""

import json
import os
import sys
from urllib.parse import urljoin
from urllib.request import urlopen

api = os.environ["AIRFLOW__CORE__EXECUTION_API_SERVER_URL"]
with urlopen(urljoin(api, "/api/v2/monitor/health"), timeout=5) as answer:  # noqa: S310
    health = json.load(answer)
sys.exit(0 if health[sys.argv[1]]["status"] == "healthy" else 1)
