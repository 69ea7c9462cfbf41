"""Copies of bundles from a store elsewhere: whole and verified, or not there."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

from keepfit import durable
from keepfit.errors import BundleError, TrackingError
from keepfit.models import bundle
from keepfit.tracking import lock

SECONDS = 600.0  # for another process to finish the same copy
Fill = Callable[[Path], Path]


def whole(target: Path, fill: Fill) -> Path:
    """The bundle `target`; where it is not there, or is damaged, it is made by `fill`.

    `fill` gets an empty folder and says which folder in it (or itself) is the bundle. It gets the
    name `target` when its checksums are right. Raises BundleError when they are not, TrackingError
    where nothing can be written.
    """
    if _sound(target):
        return target
    with lock.held(target.parent / "copies.lock", f"Copying {target.name}", SECONDS):
        if _sound(target):  # another process was first
            return target
        try:
            _make(target, fill)
        except OSError as error:
            raise TrackingError(f"The copy {target} could not be made: {error}. Is there space on the disk?") from error
    return target


def _make(target: Path, fill: Fill) -> None:
    partial = target.with_name(f".{target.name}.partial")  # the lock is held: what is there was left by a kill
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    try:
        made = fill(partial)
        bundle.verify(made)
        durable.settle(made, target)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _sound(folder: Path) -> bool:
    try:
        bundle.verify(folder)
    except BundleError:
        return False
    return True
