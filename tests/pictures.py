"""Small models of pictures, on digits that are drawn here from scikit-learn's."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression

from keepfit import features
from keepfit.data import pictures
from keepfit.deployment import runtime
from keepfit.features.values import Columns, Pictures
from keepfit.models import bundle
from keepfit.models.fitted import Fitted, Member
from keepfit.types import Column, Schema
from tests.data import drawings
from tests.models import fits

CLASSES = ("0", "1", "2")
PHOTO = Column("photo", "image")
AGE = Column("age", "number")


@cache
def drawn(count: int = 300) -> tuple[tuple[bytes, ...], tuple[str, ...]]:
    """Pictures of the digits 0, 1 and 2 as PGM files, 8 x 8 pixels, and what they show."""
    found = load_digits(n_class=len(CLASSES))
    files = pictures.raws(np.rint(found.images[:count] * 255 / 16).astype(np.uint8))
    return tuple(files), tuple(str(label) for label in found.target[:count])


def png() -> bytes:
    """A colourful PNG."""
    return drawings.file(drawings.noise())


def damaged() -> bytes:
    """A PNG with a good header and a good end, and nothing good between them."""
    found = bytearray(png())
    found[len(found) // 3 : 2 * len(found) // 3] = bytes(2 * len(found) // 3 - len(found) // 3)
    return bytes(found)


def schema(mixed: bool = False) -> Schema:
    return Schema((PHOTO, *([AGE] if mixed else []), Column("digit", "target")), "classification", "digit", CLASSES)


def written(folder: Path, mixed: bool = False) -> Path:
    """A bundle of a linear model on the pixels, and with `mixed` on a number too."""
    files, labels = drawn()
    values = {"photo": Pictures(files), **({"age": np.arange(float(len(files)))} if mixed else {})}
    told, y = Columns(values, len(files)), np.array(labels, object)
    state, matrix = features.fit_apply(told, schema(mixed), y, {"number": {"impute": "median", "scale": "standard"}})
    estimator = LogisticRegression(max_iter=500).fit(matrix, y.astype(int))
    fitted = Fitted("classification", CLASSES, (Member("logistic_regression", 1.0, state, estimator),))
    return bundle.write(folder, fitted, schema(mixed), fits.ABOUT, **fits.REST).path


def loaded(folder: Path, mixed: bool = False) -> runtime.Runtime:
    return runtime.load(written(folder, mixed))


def folder_of(place: Path, count: int = 60) -> Path:
    """The digits as a folder of a folder a class."""
    files, labels = drawn()
    for number, (data, label) in enumerate(zip(files[:count], labels, strict=False)):
        (place / label).mkdir(parents=True, exist_ok=True)
        (place / label / f"{number:03}.pgm").write_bytes(data)
    return place


def project(place: Path, extra: str = "") -> Path:
    """A project of the digits, which trains in seconds."""
    folder_of(place / "digits", 300)
    model = "model: {type: logistic_regression}\ntuning: {trials: 0, cv: 3}\n"
    text = f"project: {{name: digits}}\ndata: {{source: digits, target: digit}}\n{model}{extra}"
    (place / "keepfit.yaml").write_text(text, encoding="utf-8")
    return place
