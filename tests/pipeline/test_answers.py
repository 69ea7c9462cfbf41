"""pipeline/answers.py: what is read is what was written, to the last bit, and holds no objects."""

from pathlib import Path

import numpy as np
import pytest

from keepfit.models.fitted import Output
from keepfit.pipeline import answers


@pytest.mark.parametrize(
    ("output", "classes"),
    [
        (Output(np.array(["no", "yes"], object), np.array([[0.9, 0.1], [1 / 3, 2 / 3]])), ("no", "yes")),
        (Output(np.array(["b", "a"], object)), ("a", "b")),
        (Output(np.array([0.1, np.nan]), low=np.array([0.0, -1.0]), high=np.array([1.0, np.inf])), ()),
    ],
)  # fmt: skip
def test_answers_come_back_as_they_were(tmp_path: Path, output: Output, classes: tuple[str, ...]) -> None:
    answers.save(tmp_path / answers.NAME, output, classes)
    again = answers.load(tmp_path / answers.NAME, classes)
    assert again is not None
    for name in ("values", "probabilities", "low", "high"):
        one, other = getattr(output, name), getattr(again, name)
        assert one is other is None or (one.dtype == other.dtype and np.array_equal(one, other, one.dtype.kind == "f"))


def test_a_run_that_kept_none_has_none(tmp_path: Path) -> None:
    assert answers.load(tmp_path / answers.NAME, ()) is None


def test_answers_hold_no_objects(tmp_path: Path) -> None:
    np.savez(tmp_path / answers.NAME, values=np.array([{}], object))
    with pytest.raises(ValueError, match="allow_pickle=False"):
        answers.load(tmp_path / answers.NAME, ())
