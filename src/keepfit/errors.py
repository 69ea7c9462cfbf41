"""What can go wrong, as a tree. Every error says what, where, what is known and what to do.

    KeepfitError              exit code 1
    ├── ConfigError           keepfit.yaml or --set (exit code 2)
    ├── DataError             the source cannot be read, or is not what was asked for
    ├── MissingExtraError     an optional package is not installed
    ├── ModelError            training, packaging or loading a model
    ├── BundleError           a bundle is damaged, foreign or too new
    ├── TrackingError         the tracking server or the registry
    ├── AlertError            an alarm could not be sent
    ├── BusyError             another keepfit works in the same project
    ├── RequestError          a request that the server cannot answer (4xx, 503)
    └── RefusedError          the answer is "no" (exit code 3); carries the Verdict

Programming mistakes stay Python's own exceptions: only what a user can act on is in the tree.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any


class KeepfitError(Exception):
    """Base of the tree. `exit_code` is what the command line ends with."""

    exit_code = 1


class ConfigError(KeepfitError):
    exit_code = 2


class DataError(KeepfitError):
    pass


class MissingExtraError(KeepfitError):
    pass


class ModelError(KeepfitError):
    pass


class BundleError(KeepfitError):
    pass


class TrackingError(KeepfitError):
    pass


class AlertError(KeepfitError):
    pass


class BusyError(KeepfitError):
    pass


class RefusedError(KeepfitError):
    exit_code = 3

    def __init__(self, message: str, verdict: Any = None) -> None:
        super().__init__(message)
        self.verdict = verdict


class RequestError(KeepfitError):
    """A request that is answered with 4xx or 503. `details`: row, column and problem of each fault."""

    def __init__(
        self, status: int, code: str, message: str, details: Sequence[Mapping[str, Any]] = (), retry: float = 0.0
    ) -> None:
        super().__init__(message)
        self.status, self.code, self.message, self.details, self.retry = status, code, message, details, retry
