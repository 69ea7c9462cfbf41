"""A stage's folder is whole or absent; one run at a time."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from keepfit.errors import BusyError, DataError
from keepfit.pipeline import folders
from keepfit.types import Column, Dataset, Schema, Split


def test_a_folder_gets_its_name_when_all_is_written(tmp_path: Path) -> None:
    with folders.whole(tmp_path / "train") as folder:
        (folder / "a").write_text("1")
        assert not (tmp_path / "train").exists()
    assert (tmp_path / "train" / "a").read_text() == "1"
    assert [p.name for p in tmp_path.iterdir()] == ["train"]


def test_a_stage_that_fails_leaves_no_folder_and_keeps_the_old_one(tmp_path: Path) -> None:
    with folders.whole(tmp_path / "train") as folder:
        (folder / "a").write_text("old")
    with pytest.raises(FileNotFoundError), folders.whole(tmp_path / "train") as folder:
        (folder / "a").write_text("new") and (folder / "not there").read_text()
    assert (tmp_path / "train" / "a").read_text() == "old"
    with folders.whole(tmp_path / "train") as folder:  # what was left over is not taken along
        assert not list(folder.iterdir())


def test_a_second_run_is_told_who_holds_the_first(tmp_path: Path) -> None:
    code = (
        "import sys, time; from pathlib import Path; from keepfit.pipeline.folders import alone\n"
        "with alone(Path(sys.argv[1])): print('in', flush=True); time.sleep(60)"
    )
    holder = subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    try:
        assert holder.stdout
        assert holder.stdout.readline() == "in\n"
        with pytest.raises(BusyError, match=f"process {holder.pid}"), folders.alone(tmp_path):
            pass
    finally:
        holder.kill()
        holder.wait()
        if holder.stdout:
            holder.stdout.close()
    with folders.alone(tmp_path):  # a killed holder holds nothing
        pass


def test_a_split_survives_being_written(tmp_path: Path) -> None:
    schema = Schema((Column("x", "number"), Column("y", "target")), "classification", "y", ("a", "b"))
    train = Dataset(pl.DataFrame({"x": [1.0, None], "y": ["a", "b"]}), schema, "sha256:1", {"source": "here"})
    test = Dataset(pl.DataFrame({"x": [2.0], "y": ["a"]}), schema, "sha256:2", {"source": "there"})
    folders.save_split(Split(train, test, "stratified"), tmp_path)
    again = folders.load_split(tmp_path)
    assert_frame_equal(again.train.frame, train.frame)
    assert_frame_equal(again.test.frame, test.frame)
    assert (again.train.schema, again.test.origin, again.how) == (schema, {"source": "there"}, "stratified")
    (tmp_path / "test.parquet").unlink()
    with pytest.raises(DataError, match=r"without --resume"):
        folders.load_split(tmp_path)
