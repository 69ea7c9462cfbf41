"""Pictures that do not fit are refused before they are read, by what this machine or its container has free."""

from __future__ import annotations

import zipfile
from pathlib import Path

import pytest

from keepfit import config
from keepfit.data import archive, image_folder, memory
from keepfit.data.read import batches, read
from keepfit.errors import DataError
from tests.data.drawings import folder


@pytest.fixture
def told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the system tells what it has: 8 GB free."""
    monkeypatch.setattr(memory, "MEMORY", tmp_path / "meminfo")
    monkeypatch.setattr(memory, "GROUP", tmp_path)
    (tmp_path / "meminfo").write_text("MemTotal: 16000000 kB\nMemAvailable:    8000000 kB\nBuffers: 3 kB\n")
    return tmp_path


def test_what_is_free_is_the_least_of_what_is_told(told: Path) -> None:
    assert memory.available() == 8_192_000_000
    (told / "memory.max").write_text("5000000000\n")
    (told / "memory.current").write_text("4000000000\n")
    (told / "memory.stat").write_text("anon 7\nfile 999\ninactive_file 600000000\nactive_file 400000000\n")
    assert memory.available() == 2_000_000_000  # what is cached is given up
    (told / "memory.current").write_text("9000000000\n")
    assert memory.available() == 0
    (told / "memory.max").write_text("max\n")
    assert memory.available() == 8_192_000_000
    (told / "meminfo").unlink()
    assert memory.available() is None
    memory.room(10**15, "nobody knows")


def test_a_set_that_does_not_fit_is_refused_before_it_is_read(told: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    photos = folder(told / "photos", 3)
    with zipfile.ZipFile(told / "photos.zip", "w") as file:
        for path in sorted(photos.rglob("*.png")):
            file.write(path, path.relative_to(photos))
    (told / "list.csv").write_text("photo,y\n" + "".join(f"photos/ants/00{n}.png,{n}\n" for n in range(3)))
    (told / "meminfo").write_text("MemAvailable: 1 kB\n")
    opened: list[str] = []
    monkeypatch.setattr(image_folder, "_content", lambda folder, name, left: opened.append(name))
    monkeypatch.setattr(archive, "_whole", lambda file, member: opened.append(member.name))
    for source, shown in (("photos", "photos"), ("photos.zip", "photos.zip"), ("list.csv", "Column 'photo'")):
        with pytest.raises(DataError, match=rf"{shown} has 0.0 GB of pictures.*Make the pictures smaller"):
            read(config.Data(source=source), told)
    assert opened == []


def test_scoring_a_folder_needs_no_memory_for_all_of_it(told: Path) -> None:
    (told / "meminfo").write_text("MemAvailable: 1 kB\n")
    found = batches(config.Data(source="x"), folder(told / "photos", 3), 2)
    assert sum(frame.height for frame in found) == 6
