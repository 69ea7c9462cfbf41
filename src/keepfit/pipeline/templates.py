"""What `keepfit init --template NAME` begins with: small projects on data that are there already.

TEMPLATES is the table; a row is a source, a target, the sections that are set, and the files that
are written beside keepfit.yaml, where the data are files.

>>> find("regresion")
Traceback (most recent call last):
    ...
keepfit.errors.ConfigError: --template: unknown name 'regresion'. Did you mean 'regression'? Known: breast_cancer, \
classification, diabetes, iris, regression, text, wine
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from keepfit.errors import ConfigError
from keepfit.extras import nearest

OPENINGS = ("All in all", "To be honest", "After a month", "For the price", "Compared with the last one")
THINGS = ("the film", "the phone", "the hotel", "the book", "the service", "the meal")
SAID = {
    "positive": ("was a pleasure", "is better than I had hoped", "works very well", "made my day"),
    "negative": ("was a waste of time", "is worse than I had feared", "does not work at all", "ruined my day"),
}


@dataclass(frozen=True)
class Template:
    """A project to begin with; `files` gives path → text of what is written beside keepfit.yaml."""

    source: str
    target: str
    sections: Mapping[str, Mapping[str, Any]]
    files: Callable[[], Mapping[str, str]] = field(default=dict)


def _opinions() -> dict[str, str]:
    """Short opinions in a folder for each class: opinions/positive/001.txt, …"""
    return {
        f"opinions/{label}/{number:03d}.txt": f"{opening}, {thing} {said}.\n"
        for label, endings in SAID.items()
        for number, (opening, thing, said) in enumerate(itertools.product(OPENINGS, THINGS, endings), 1)
    }


IRIS = Template(
    "sklearn:iris",
    "target",
    {"model": {"type": "random_forest"}, "tuning": {"trials": 0}, "goals": {"accuracy": ">= 0.85"}},
)
DIABETES = Template("sklearn:diabetes", "target", {"tuning": {"time_budget": 15}, "goals": {"r2": ">= 0.2"}})
TEMPLATES: Mapping[str, Template] = {
    "iris": IRIS,
    "classification": IRIS,
    "wine": Template("sklearn:wine", "target", {"tuning": {"time_budget": 15}, "goals": {"accuracy": ">= 0.85"}}),
    "breast_cancer": Template(
        "sklearn:breast_cancer", "target", {"tuning": {"time_budget": 20}, "goals": {"roc_auc": ">= 0.97"}}
    ),
    "diabetes": DIABETES,
    "regression": DIABETES,
    "text": Template("opinions", "label", {"tuning": {"time_budget": 15}, "goals": {"accuracy": ">= 0.8"}}, _opinions),
}


def find(name: str) -> Template:
    """The row called `name`. Raises ConfigError with the nearest name."""
    if name not in TEMPLATES:
        known = ", ".join(sorted(TEMPLATES))
        raise ConfigError(f"--template: unknown name '{name}'. {nearest(name, TEMPLATES)}Known: {known}")
    return TEMPLATES[name]
