"""keepfit: train a model, put it to work, keep it fit.

>>> import keepfit
>>> keepfit.Project.__name__  # loaded on first use, so that the import itself is light
'Project'
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from keepfit.config import Config
    from keepfit.errors import KeepfitError
    from keepfit.features.pipeline import Featurizer
    from keepfit.project import Project, init
    from keepfit.types import Bundle, Check, Dataset, Decision, Schema, Split, Verdict

__version__ = "0.1.0"

_HOMES = {
    "Project": "project",
    "init": "project",
    "Config": "config",
    "Featurizer": "features.pipeline",
    "KeepfitError": "errors",
    **dict.fromkeys(("Bundle", "Check", "Dataset", "Decision", "Schema", "Split", "Verdict"), "types"),
}
__all__ = [
    "Bundle",
    "Check",
    "Config",
    "Dataset",
    "Decision",
    "Featurizer",
    "KeepfitError",
    "Project",
    "Schema",
    "Split",
    "Verdict",
    "__version__",
    "init",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'keepfit' has no attribute '{name}'")
    return getattr(importlib.import_module(f"keepfit.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return __all__
