"""A bundle: one folder with all that serving and monitoring ever need. Format 1.

    bundle.json         the manifest: what it is, schema, members, calibration, threshold, …
    features/N/         learned features: state.json and state.npz
    models/N.*          npz (coefficients, or histories), onnx, or skops (runtime: python)
    later.npz           what was observed after the training, for models that observations move on
    metrics.json        the evaluation                  reference.json    histograms for monitoring
    config.yaml         the config, ${VAR} unfilled     environment.txt   pinned packages
    parity.json         the proof that it answers like the trained model
    card.md             for people; plots and reports lie beside it as given
    checksums.sha256    of all other files, as sha256sum -c reads it

A bundle holds no code, and nothing in it is parsed before all checksums are right. `read` keeps
reading every format that was ever written; a format that changes gets a new number.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import math
import os
import platform
import re
import shutil
from collections.abc import Callable, Iterable, Mapping, Set
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath
from typing import Any

from keepfit import durable
from keepfit.errors import BundleError, ModelError
from keepfit.extras import load
from keepfit.models.fitted import Fitted
from keepfit.types import Bundle, Schema, Verdict, plain

FORMAT = 1
MANIFEST, SUMS, LATER = "bundle.json", "checksums.sha256", "later.npz"
LINE = re.compile(r"([0-9a-f]{64}) [ *](.+)")
# what a manifest of format 1 must have
KEYS = frozenset(
    {"format", "keepfit", "name", "task", "runtime", "schema", "classes", "features", "models", "members",
     "calibration", "threshold", "interval", "hooks", "created", "data", "code", "seed"}
)  # fmt: skip
# packages whose versions decide what a model answers; the second line is for runtime: python
SERVING = ("keepfit", "numpy", "onnxruntime", "polars")
TRAINING = ("lightgbm", "scikit-learn", "scipy", "skops", "onnx", "skl2onnx")
# role → packages that serve a column of it, and those that networks and backbones are trained and read with
OF_ROLES = {"image": (("pillow",), ("torch", "transformers"))}


# --- reading ------------------------------------------------------------------------------------


def read(folder: Path) -> Bundle:
    """The bundle in `folder`, verified. Raises BundleError that names the file and what to do."""
    verify(folder)
    try:
        manifest = json.loads((folder / MANIFEST).read_bytes())
    except ValueError as error:
        raise BundleError(f"{folder / MANIFEST} is not JSON: {error}. {AGAIN}") from error
    if not isinstance(manifest, dict) or not isinstance(manifest.get("format"), int):
        raise BundleError(f"{folder / MANIFEST} has no format number: this is no bundle of keepfit.")
    if manifest["format"] > FORMAT:
        raise BundleError(
            f"{folder} has bundle format {manifest['format']}, written by keepfit {manifest.get('keepfit', '?')}. This "
            f"is keepfit {version()}, which reads formats up to {FORMAT}. Update it: pip install --upgrade keepfit"
        )
    absent = sorted(KEYS - manifest.keys())
    if absent:
        raise BundleError(f"{folder / MANIFEST} lacks {', '.join(absent)}. {AGAIN}")
    _inside(folder, manifest)
    return Bundle(folder, manifest)


AGAIN = "Copy the bundle again from where it came, or package the model again."


def verify(folder: Path) -> None:
    """Checks that the folder has exactly the files of its checksums, unchanged."""
    if not folder.is_dir():
        raise BundleError(f"There is no folder {folder}. A bundle is a folder with a {MANIFEST}.")
    for name in (MANIFEST, SUMS):
        if not (folder / name).is_file():
            raise BundleError(f"{folder} is no bundle, or only a part of one: it has no {name}. {AGAIN}")
    sums = _sums(folder)
    there = set(_files(folder)) - {SUMS}
    missing, extra = sorted(sums.keys() - there), sorted(there - sums.keys())
    if missing:
        raise BundleError(f"{folder} lacks {_list(missing)}. {AGAIN}")
    if extra:
        raise BundleError(f"{folder} has files that do not belong to it: {_list(extra)}. Move them out of the folder.")
    wrong = [name for name, wanted in sums.items() if _hash(folder / name) != wanted]
    if wrong:
        raise BundleError(f"{folder}: {_list(wrong)} changed since the bundle was written (checksum). {AGAIN}")


def _list(names: list[str]) -> str:
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")


def names(folder: Path) -> list[str]:
    """The files that a bundle's list of checksums names; relative paths that stay inside. Raises BundleError."""
    return list(_sums(folder))


def _sums(folder: Path) -> dict[str, str]:
    """File → sha256, from the list of checksums."""
    sums = {}
    for line in (folder / SUMS).read_text(encoding="utf-8", errors="replace").splitlines():
        found = LINE.fullmatch(line)
        if not found or not _plain(found[2]):
            raise BundleError(
                f"{folder / SUMS} has a line that is no checksum of a file inside: {line[:100]!r}. {AGAIN}"
            )
        sums[found[2]] = found[1]
    return sums


def _plain(name: str) -> bool:
    """Whether a path stays inside the folder that it is relative to, on any system."""
    path = PurePosixPath(name)
    return not (path.is_absolute() or ".." in path.parts or "\\" in name or ":" in name or name != str(path))


def _files(folder: Path) -> Iterable[str]:
    root = folder.resolve()
    for path in folder.rglob("*"):
        if path.is_symlink() and not path.resolve().is_relative_to(root):
            raise BundleError(f"{path} is a link to outside of the bundle. Put the file itself there.")
        if not path.is_dir():
            yield path.relative_to(folder).as_posix()


def _hash(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _inside(folder: Path, manifest: Mapping[str, Any]) -> None:
    """Every file that the manifest names must be one of the bundle's own."""
    listed = set(_sums(folder))
    try:
        named = [entry["file"] for entry in manifest["models"]]
        named += [f"{state}/{name}" for state in manifest["features"] for name in ("state.json", "state.npz")]
        foreign = [name for name in named if name not in listed]
    except (TypeError, KeyError) as error:
        raise BundleError(f"{folder / MANIFEST}: 'models' or 'features' is not what it should be. {AGAIN}") from error
    if foreign:
        raise BundleError(f"{folder / MANIFEST} names {_list(foreign)}, which is not in {SUMS}. {AGAIN}")


# --- writing ------------------------------------------------------------------------------------


def write(
    folder: Path,
    fitted: Fitted,
    schema: Schema,
    about: Mapping[str, Any],
    *,
    metrics: Mapping[str, Any],
    reference: Mapping[str, Any],
    config: Mapping[str, Any],
    hooks: Path | None = None,
    files: Mapping[str, Path] | None = None,
    prove: Callable[[Path], Verdict] | None = None,
    runtime: str = "onnx",
) -> Bundle:
    """Write a bundle; it gets its name when it is complete and proved.

    Args:
        about: `name` of the model, `data` {version, origin}, `code` {commit, dirty}, `seed`.
        metrics: the evaluation. reference: what monitoring compares with, see `keepfit.monitoring.reference`.
        config: the config as recorded, without secrets.
        hooks: the user's features.py; its name and hash are recorded, not its content.
        files: path inside the bundle → file to copy there (plots, reports).
        prove: the parity check on the folder of a complete bundle. If its Verdict fails, the bundle
            is written again for runtime: python, which says so.
        runtime: "onnx", or "python" to store the estimators themselves.

    Raises ModelError if no runtime answers like the trained model.
    """
    partial = folder.with_name(f".{folder.name}.partial-{os.getpid()}")
    tried: list[Verdict] = []
    try:
        for way in ("onnx", "python") if runtime == "onnx" else ("python",):
            shutil.rmtree(partial, ignore_errors=True)
            partial.mkdir(parents=True)
            manifest = _contents(partial, fitted, schema, about, config, hooks, way, tried)
            _json(partial / "metrics.json", metrics)
            _json(partial / "reference.json", reference)
            _copy(partial, files or {})
            _seal(partial)
            verdict = prove(partial) if prove else Verdict("parity")
            if verdict.outcome != "failed" or manifest["runtime"] == "python":
                break
            tried.append(verdict)
        _proved(verdict)
        _json(partial / "parity.json", {**plain(verdict), "outcome": verdict.outcome, "refused": plain(tried)})
        card = load("keepfit.models.card:card", "card")(manifest, metrics, config, verdict)
        _text(partial / "card.md", card)
        _seal(partial)
        durable.settle(partial, folder)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return Bundle(folder, manifest)


def _contents(
    partial: Path, fitted: Fitted, schema: Schema, about: Mapping[str, Any], config: Mapping[str, Any],
    hooks: Path | None, way: str, tried: list[Verdict],
) -> dict[str, Any]:  # fmt: skip
    """Model files, manifest, config and environment."""
    entry = load("keepfit.models.export:export", "model.type")(fitted, partial, way)
    manifest = {
        "format": FORMAT,
        "keepfit": version(),
        "name": about["name"],
        "task": fitted.task,
        "runtime": entry["runtime"],
        "why_python": [check.name for verdict in tried for check in verdict.failures],
        "schema": schema,
        "classes": fitted.classes,
        **{key: entry[key] for key in ("features", "models", "members")},
        "calibration": fitted.calibration,
        "threshold": fitted.threshold,
        "interval": fitted.interval,
        "hooks": {"file": hooks.name, "sha256": _hash(hooks)} if hooks else None,
        "created": about.get("created") or datetime.now(UTC).isoformat(timespec="seconds"),
        **{key: about[key] for key in ("data", "code", "seed")},
        "report": fitted.report,
    }
    _json(partial / MANIFEST, manifest)
    dump = load("yaml:safe_dump", "config")
    _text(partial / "config.yaml", dump(plain(config), sort_keys=False, allow_unicode=True))
    _text(partial / "environment.txt", environment(entry["runtime"], {column.role for column in schema.features}))
    read_back: dict[str, Any] = json.loads((partial / MANIFEST).read_bytes())
    return read_back


def _proved(verdict: Verdict) -> None:
    if verdict.outcome == "failed":
        told = "; ".join(f"{c.name} {c.value} (limit {c.limit}; {c.detail})" for c in verdict.failures)
        raise ModelError(
            f"The stored model does not answer like the trained one: {told}. It is not packaged. "
            "If the estimator is your own, let predict() use nothing but what fit() stored in plain attributes."
        )


def version() -> str:
    """keepfit's own version."""
    return importlib.metadata.version("keepfit")


def environment(runtime: str, roles: Set[str] = frozenset()) -> str:
    """Pinned requirements: those that serve, and with "python" those that trained; else as comments.

    `roles` are those of the features. The Python version and the system stand in the first line, as a comment.
    """
    more = [OF_ROLES[role] for role in OF_ROLES if role in roles]
    mark = "" if runtime == "python" else "# trained with "
    named = [("", SERVING), *(("", serve) for serve, _ in more), (mark, TRAINING)]
    named += [("# trained with ", learned) for _, learned in more]  # what they made is served without them
    lines = [f"# Python {platform.python_version()}, {platform.system()} {platform.machine()}"]
    lines += [f"{mark}{name}=={found}" for mark, names in named for name in names if (found := _installed(name))]
    return "\n".join(lines) + "\n"


def _installed(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def _json(path: Path, value: Any) -> None:
    _text(path, json.dumps(_finite(plain(value)), ensure_ascii=False, indent=1, default=str) + "\n")


def _finite(value: Any) -> Any:
    """JSON has no NaN and no infinity: null stands for both."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {key: _finite(inner) for key, inner in value.items()}
    if hasattr(value, "tolist"):
        return _finite(value.tolist())
    return [_finite(inner) for inner in value] if isinstance(value, list) else value


def _text(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8")


def _copy(partial: Path, files: Mapping[str, Path]) -> None:
    for name, source in files.items():
        if not _plain(name) or (partial / name).exists():
            raise ModelError(f"A bundle cannot take a file as '{name}': the name is taken or leads outside.")
        (partial / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, partial / name)


def _seal(partial: Path) -> None:
    """Write the checksums of all files."""
    names = sorted(set(_files(partial)) - {SUMS})
    _text(partial / SUMS, "".join(f"{_hash(partial / name)}  {name}\n" for name in names))
