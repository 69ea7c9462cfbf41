"""Runs, registry, gate and decisions. MLflow is imported in mlflow.py alone.

MLflow reads these variables when it is imported; what the user has set stays. Its telemetry is
off, what goes wrong is raised as TrackingError and not logged, and a server that does not answer
is given up after seconds, where MLflow would try for minutes.
"""

import os

for _name, _value in {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_LOGGING_LEVEL": "CRITICAL",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",
    "MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR": "1",
}.items():
    os.environ.setdefault(_name, _value)
