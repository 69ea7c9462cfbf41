"""The model card: one page for people who meet a bundle, as Markdown (Mitchell et al. 2019)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from keepfit.models import conformal
from keepfit.types import Verdict

SLICES = 5  # weakest slices shown
COLUMNS = 40  # input columns shown
CODE = """```python
import keepfit.deployment.runtime as runtime

model = runtime.load("PATH OF THIS FOLDER"{hooks})
output, problems = model.rows([{{"COLUMN": "VALUE"}}])
```"""


def card(manifest: Mapping[str, Any], metrics: Mapping[str, Any], config: Mapping[str, Any], parity: Verdict) -> str:
    """What the model is, from which data, how good, for whom it is worse, its limits, how to load it."""
    parts = [_head(manifest, config), _data(manifest, config), _metrics(metrics, config.get("goals") or {})]
    parts += [_slices(metrics.get("slices") or ()), _members(manifest), _inputs(manifest["schema"])]
    parts += [_limits(manifest, parity), _use(manifest)]
    return "\n\n".join(part for part in parts if part) + "\n"


def _head(manifest: Mapping[str, Any], config: Mapping[str, Any]) -> str:
    project, schema = config.get("project") or {}, manifest["schema"]
    about = project.get("description") or f"Predicts `{schema.get('target')}`."
    labels = f" Classes: {', '.join(f'`{_cell(c)}`' for c in manifest['classes'])}." if manifest["classes"] else ""
    owner = f" Owner: {project['owner']}." if project.get("owner") else ""
    return f"# {manifest['name']}\n\n{about} Task: {manifest['task']} of `{schema.get('target')}`.{labels}{owner}"


def _data(manifest: Mapping[str, Any], config: Mapping[str, Any]) -> str:
    data, code = manifest["data"], manifest["code"]
    origin, commit = data.get("origin") or {}, code.get("commit")
    told = {
        "Source": (config.get("data") or {}).get("source"),
        "Version": data.get("version"),
        **{str(key).capitalize(): value for key, value in origin.items() if isinstance(value, (str, int, float))},
        "Code": f"commit {commit}{' with uncommitted changes' if code.get('dirty') else ''}" if commit else None,
        "Seed": manifest["seed"],
        "Made": f"{manifest['created']} by keepfit {manifest['keepfit']}",
    }
    rows = [(name, value) for name, value in told.items() if value not in (None, "")]
    return "## Data and origin\n\n" + _table(("", ""), rows)


def _metrics(metrics: Mapping[str, Any], goals: Mapping[str, str]) -> str:
    rows = []
    for name, found in (metrics.get("metrics") or {}).items():
        low, high = found.get("low"), found.get("high")
        interval = f"{_number(low)} to {_number(high)}" if low is not None and high is not None else ""
        rows.append((name, _number(found.get("value")), interval, _number(found.get("baseline")), goals.get(name, "")))
    if not rows:
        return ""
    count = f"{metrics['rows']:,} " if metrics.get("rows") else ""
    interval = f"{metrics['confidence']:.0%} interval" if metrics.get("confidence") else "interval"
    return f"## How good it is\n\nOn {count}test rows, which took no part in training.\n\n" + _table(
        ("metric", "value", interval, "trivial baseline", "goal"), rows
    )


def _slices(slices: Sequence[Mapping[str, Any]]) -> str:
    shown = [_flat(row) for row in slices[:SLICES]]
    if not shown:
        return ""
    heads = tuple(dict.fromkeys(key for row in shown for key in row))
    rows = [tuple(_number(row.get(key)) for key in heads) for row in shown]
    return "## Where it is weakest\n\n" + _table(heads, rows)


def _flat(row: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in row.items() if not isinstance(value, (Mapping, list, tuple))}


def _members(manifest: Mapping[str, Any]) -> str:
    rows = [
        (m["name"], f"{m['weight']:.3g}", ", ".join(f"{k}={v}" for k, v in m["parameters"].items()))
        for m in manifest["members"]
    ]
    calibration = (manifest["calibration"] or {}).get("method", "none")
    told = [f"Calibration: {calibration}."]
    if manifest["threshold"] is not None:
        told.append(f"`{manifest['classes'][1]}` from a probability of {manifest['threshold']:.4g}.")
    if manifest["interval"] is not None:
        told.append(_interval(manifest["interval"]))
    return "## What it is made of\n\n" + _table(("estimator", "weight", "parameters"), rows) + "\n\n" + " ".join(told)


def _interval(found: float | Mapping[str, Any]) -> str:
    """Half the width; or of a forecast the ends at the first and the last step."""
    if not isinstance(found, Mapping):
        return f"90 % interval: ± {found:.6g}."
    ends = list(zip(found["low"], found["high"], strict=True))
    first, last = (f"{low:+.3g} to {high:+.3g}" for low, high in (ends[0], ends[-1]))
    scale = "times the mean absolute seasonal difference of the series"
    steps = "" if len(ends) == 1 else f", {last} at step {len(ends)}"
    told = f"{found['coverage']:.0%} interval: {first} at step 1{steps}, {scale}.".replace("%", " %")
    little = conformal.few(found)
    return f"{told} It was {little}." if little else told


def _inputs(schema: Mapping[str, Any]) -> str:
    roles = ("id", "time", "group", "target", "ignore")
    columns = [c for c in schema["columns"] if c["role"] not in roles]
    rows = [(c["name"], c["role"], f"{c.get('missing', 0):.1%}", _range(c)) for c in columns[:COLUMNS]]
    more = f"\n\nAnd {len(columns) - COLUMNS} more: see bundle.json." if len(columns) > COLUMNS else ""
    return "## What it needs\n\n" + _table(("column", "role", "missing", "seen in training"), rows) + more


def _range(column: Mapping[str, Any]) -> str:
    if column.get("low") is not None and column.get("high") is not None:
        return f"{_number(column['low'])} to {_number(column['high'])}"
    levels = column.get("levels") or ()
    return ", ".join(levels[:5]) + (f" and {len(levels) - 5} more" if len(levels) > 5 else "")


def _limits(manifest: Mapping[str, Any], parity: Verdict) -> str:
    told = [
        "It learned from past rows of one source: where the world or the source differs, it is worse, and only "
        "monitoring shows it. Values outside of what was seen in training are answered too, without a warning.",
        f"Stored and trained model: parity {parity.outcome}"
        + "".join(f"; {c.name} {_number(c.value)}" for c in parity.checks if c.value is not None)
        + ".",
    ]
    if manifest["runtime"] == "python":
        told.append(
            "Runtime: python. It needs scikit-learn of the version in environment.txt, because "
            + (f"ONNX failed: {', '.join(manifest['why_python'])}." if manifest.get("why_python")
               else "an estimator has no ONNX form.")
        )  # fmt: skip
    if manifest["hooks"]:
        told.append(f"It needs the functions of `{manifest['hooks']['file']}`, which are not in this folder.")
    return "## Limits\n\n" + "\n".join(f"- {line}" for line in told)


def _use(manifest: Mapping[str, Any]) -> str:
    hooks = f', hooks="{manifest["hooks"]["file"]}"' if manifest["hooks"] else ""
    return (
        "## How to use it\n\n" + CODE.format(hooks=hooks) + "\n\nOr `keepfit predict INPUT -o OUTPUT` in its project."
    )


def _number(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.4g}" if abs(value) < 1e5 else f"{value:,.0f}"
    return "" if value is None else str(value)


def _table(heads: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join("| " + " | ".join(_cell(cell) for cell in line) + " |" for line in lines)


def _cell(value: Any) -> str:
    """Text that cannot break out of its cell."""
    return " ".join(str(value).split()).replace("|", "\\|").replace("<", "&lt;")[:200]
