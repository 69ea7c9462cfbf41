"""models/plots.py: what stands in the pictures (that they are small and the same each time: test_evaluate.py)."""

import re
from xml.etree import ElementTree

import numpy as np
import polars as pl
import pytest

from keepfit.models import plots
from keepfit.models.fitted import Output
from keepfit.types import Column, Schema

CLASSES = ("a<b", "the second & longest class", "c")
SVG = "{http://www.w3.org/2000/svg}"


def texts(path):
    return [element.text for element in ElementTree.parse(path).getroot().iter(f"{SVG}text")]


def drawn(tmp_path, y, output, classes=()):
    schema = Schema((Column("y", "target"),), "classification" if classes else "regression", "y", classes)
    return {path.stem: path for path in plots.draw(y, output, schema, tmp_path, pl.DataFrame(), pl.DataFrame())}


def test_a_confusion_matrix_has_its_counts_and_the_names_of_its_classes(tmp_path):
    truth = np.array([CLASSES[0]] * 3 + [CLASSES[1]] * 1200, object)
    told = texts(drawn(tmp_path, truth, Output(truth), CLASSES)["confusion"])
    assert {"3", "1,200", "a<b", "c", "true", "predicted"} <= set(told)
    assert sum(text.startswith("the second") and text.endswith("…") for text in told) == 2


def test_many_classes_are_colours_alone(tmp_path):
    names = tuple(f"class {k:02}" for k in range(plots.CLASSES + 1))
    truth = np.array(names * 3, object)
    assert not any("class" in text for text in texts(drawn(tmp_path, truth, Output(truth), names)["confusion"]))


def test_a_roc_curve_goes_where_the_definition_says(tmp_path):
    probability = np.array([0.9, 0.8, 0.7, 0.1])
    truth = np.array(["yes", "no", "yes", "no"], object)
    output = Output(truth, np.column_stack([1 - probability, probability]))
    root = ElementTree.parse(drawn(tmp_path, truth, output, ("no", "yes"))["roc"]).getroot()
    curve = [line.get("points").split() for line in root.iter(f"{SVG}polyline") if not line.get("stroke-dasharray")]
    across, upward = (plots.LEFT, plots.RIGHT), (plots.BOTTOM, plots.TOP)
    steps = [(0, 0), (0, 0.5), (0.5, 0.5), (0.5, 1), (1, 1)]
    wanted = [
        f"{across[0] + x * (across[1] - across[0]):.1f},{upward[0] + y * (upward[1] - upward[0]):.1f}" for x, y in steps
    ]
    assert curve == [wanted]


def test_a_histogram_has_a_bar_for_each_bin_and_the_interval(tmp_path):
    truth = np.linspace(-10, 10, 1000)
    output = Output(np.zeros(1000), None, np.full(1000, -5.0), np.full(1000, 5.0))
    text = drawn(tmp_path, truth, output)["residuals"].read_text()
    assert max(part.count("z") for part in re.findall(r" d='([^']*)'", text)) == plots.BARS
    assert text.count("stroke-dasharray") == 2


@pytest.mark.parametrize("value", [0.0, 3e300, -1e-300])
def test_a_target_of_one_value_can_be_drawn(tmp_path, value):
    truth = np.full(40, value)
    for path in drawn(tmp_path, truth, Output(truth)).values():
        assert not re.search("nan|inf", path.read_text())


@pytest.mark.parametrize(("low", "high", "count"), [(0, 0, 1), (1e-9, 3e-9, 5), (-1e12, 1e12, 5), (99.5, 100.5, 5)])
def test_ticks_are_round_and_inside(low, high, count):
    found = plots.ticks(low, high)
    assert len(found) == count
    assert all(low - 1e-9 * abs(low) <= tick <= high + 1e-9 * abs(high) for tick in found)
