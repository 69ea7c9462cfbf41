"""Estimators that have no exact ONNX form, stored by skops: data and type names, no pickle.

Loading builds only objects of types that are trusted. Who is trusted stands here and in the
project's config (`model.trusted`), never in the file that is loaded.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import skops.io
from skops.io.exceptions import UntrustedTypesFoundException

from keepfit.errors import BundleError, ModelError
from keepfit.models.trust import TRUSTED


def dump(estimator: Any, path: Path) -> None:
    """Write an estimator. Raises ModelError for one that cannot be stored as data."""
    try:
        skops.io.dump(estimator, path)
    except (TypeError, NotImplementedError, AttributeError, ValueError, RecursionError) as error:
        raise ModelError(
            f"{type(estimator).__module__}.{type(estimator).__name__} cannot be stored: {error}. "
            "keepfit stores data, no code: let fit() keep plain attributes (numbers, arrays, estimators)."
        ) from error


def load(path: Path, trusted: Sequence[str] = ()) -> Any:
    """The estimator that `dump` wrote. Raises BundleError for types that are not trusted."""
    try:
        found = set(skops.io.get_untrusted_types(file=path))
        unknown = sorted(found - TRUSTED - set(trusted))
        if unknown:
            raise BundleError(
                f"{path.name} holds types that are not trusted: {', '.join(unknown)}. "
                f"If you know them, name them in keepfit.yaml: model: {{trusted: [{', '.join(unknown)}]}}"
            )
        return skops.io.load(path, trusted=sorted(found))
    except (
        UntrustedTypesFoundException,
        BadZipFile,
        ValueError,
        KeyError,
        TypeError,
        AttributeError,
        OSError,
    ) as error:
        raise BundleError(
            f"{path.name} cannot be loaded: {error}. It was written by other versions of its libraries "
            "(see environment.txt beside it), or it is damaged."
        ) from error
    except ImportError as error:
        raise BundleError(f"{path.name} needs a module that is not here: {error}. Install it first.") from error
