"""An OpenAPI document as one page for people: columns, routes, and a form that asks the model.

The page stands alone (no address but the server's own) and is made of the document only. All that comes
from the document is escaped; the page's own policy lets it talk to nothing but its origin.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from html import escape
from pathlib import Path
from typing import Any

STYLE, SCRIPT = Path(__file__).with_suffix(".css"), Path(__file__).with_suffix(".js")
ASKING = Path(__file__).with_name("docs_key.js")
FIELDS = 60  # columns that get a field; with more there is the JSON alone
POLICY = (
    "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; connect-src 'self'; img-src data:; "
    "base-uri 'none'; form-action 'none'"
)


def page(document: Mapping[str, Any]) -> str:
    """The HTML page of `openapi.document`."""
    info, row = document["info"], document["components"]["schemas"]["Row"]
    columns: Mapping[str, Any] = row["properties"]
    example = row["examples"][0]
    title = f"{info['title']} {info['version']}"
    parts = [
        f"<h1>{escape(info['title'])} <span class=soft>version {escape(info['version'])}</span></h1>",
        f"<p>{escape(info['description'])} <a id=openapi href=openapi.json>openapi.json</a></p>",
        _form(columns, example),
        f"<h2>Columns <span class=soft>{len(columns):,}</span></h2>{_columns(columns, row['required'])}",
        f"<h2>Answer</h2>{_answer(document)}",
        f"<h2>Routes</h2>{_routes(document)}",
    ]
    return _html(
        title, f"{''.join(parts)}<script type=application/json id=example>{_embedded(example)}</script>", SCRIPT
    )


def asking() -> str:
    """The page for who brought no key: it asks for one, keeps it in its own memory, and becomes `page`.

    It tells nothing of the model. A browser cannot be told otherwise to send a key.
    """
    return _html(
        "API key",
        "<h1>API key</h1><p>This server asks for one. The key stays in this page, and is gone when you leave it.</p>"
        "<form id=asking><div class=bar><label class=key>API key <input id=given type=password autocomplete=off "
        "required autofocus></label><button type=submit>Open</button></div></form>"
        "<p id=refused class=bad role=alert></p>",
        ASKING,
    )


def _html(title: str, inner: str, script: Path) -> str:
    return (
        "<!doctype html><html lang=en><meta charset=utf-8>"
        f'<meta http-equiv=Content-Security-Policy content="{POLICY}">'
        "<meta name=viewport content='width=device-width, initial-scale=1'><link rel=icon href=data:,>"
        f"<title>{escape(title)}</title><style>{STYLE.read_text(encoding='utf-8')}</style><main>{inner}</main>"
        f"<script>{script.read_text(encoding='utf-8')}</script></html>"
    )


def _embedded(value: Any) -> str:
    """JSON inside of HTML: nothing in it can end the element."""
    return json.dumps(value).replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _form(columns: Mapping[str, Any], example: Mapping[str, Any]) -> str:
    """The fields, what they make as JSON, and as a command."""
    names = list(columns) if len(columns) <= FIELDS else []
    fields = "".join(_field(name, columns[name], example[name], place) for place, name in enumerate(names))
    return (
        "<h2>Try it</h2><form id=try><div class=fields>"
        f"{fields}</div><details{'' if names else ' open'}><summary>JSON</summary>"
        "<textarea id=body rows=8 spellcheck=false aria-label='Body of the request'></textarea></details>"
        "<div class=bar><label class=key>API key <input id=key type=password autocomplete=off "
        "placeholder='if the server asks for one'></label><button type=submit>Predict</button></div></form>"
        "<div id=answer hidden aria-live=polite><p id=headline></p><div id=bars></div><pre id=raw></pre></div>"
        "<div class=code><button type=button data-copy=curl>Copy</button><pre id=curl></pre></div>"
    )


def _field(name: str, about: Mapping[str, Any], value: Any, place: int) -> str:
    role, common = about["x-role"], f"data-name='{escape(name)}' data-role={escape(about['x-role'])}"
    shown = escape("" if value is None else json.dumps(value) if isinstance(value, bool) else str(value))
    if role == "text":
        inner = f"<textarea rows=3 {common}>{shown}</textarea>"
    elif role == "category":
        options = "".join(f"<option value='{escape(_shown(level))}'>" for level in about["examples"])
        inner = f"<input {common} list=levels{place} value='{shown}'><datalist id=levels{place}>{options}</datalist>"
    elif role == "number":
        hint = escape(" to ".join(f"{end:g}" for end in about.get("x-range", ())))
        inner = f"<input type=number step=any {common} value='{shown}' title='{hint}'>"
        return f"<label class=number><span>{escape(name)} <i>{hint}</i></span>{inner}</label>"
    else:
        inner = f"<input {common} value='{shown}'>"
    return f"<label class={escape(role)}><span>{escape(name)}</span>{inner}</label>"


def _shown(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _table(head: tuple[str, ...], rows: list[str]) -> str:
    cells = "".join(f"<th>{name}</th>" for name in head)
    return f"<div class=scroll><table><thead><tr>{cells}</tr></thead><tbody>{''.join(rows)}</tbody></table></div>"


def _columns(columns: Mapping[str, Any], required: list[str]) -> str:
    rows = [
        f"<tr><td><code>{escape(name)}</code></td><td>{escape(about['x-role'])}</td>"
        f"<td>{escape(about['description'])}</td><td class=examples>"
        f"{escape(', '.join(_shown(value)[:80] for value in about['examples'][:6]))}</td></tr>"
        for name, about in columns.items()
    ]
    told = "<p class=soft>Every column must be there; its value may be null where it is unknown.</p>"
    return (told if required else "") + _table(("column", "role", "meaning", "examples"), rows)


def _answer(document: Mapping[str, Any]) -> str:
    about = document["components"]["schemas"]["Prediction"]["properties"]
    sample = {name: ANSWERS.get(name, 0.0) for name in about}
    classes = about["prediction"].get("enum")
    if classes:
        share = round(1 / len(classes), 3)
        sample |= {"prediction": classes[0], "confidence": share, "probabilities": dict.fromkeys(classes, share)}
    title, version = document["info"]["title"], document["info"]["version"]
    shown = json.dumps(
        {"predictions": [sample], "model": {"name": title, "version": version}}, indent=2, ensure_ascii=False
    )
    return f"<pre>{escape(shown)}</pre>"


ANSWERS: Mapping[str, Any] = {"id": "…", "interval": [0.0, 0.0]}


def _routes(document: Mapping[str, Any]) -> str:
    rows = [
        f"<tr><td><b class={method}>{method.upper()}</b></td><td><code>{escape(path)}</code></td>"
        f"<td>{escape(operation['summary'])}</td><td class=examples>{escape(_kinds(operation))}</td>"
        f"<td class=needs>{'' if operation.get('security') == [{}] else 'key, if set'}</td></tr>"
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
    ]
    return _table(("", "path", "what it does", "takes", "needs"), rows)


def _kinds(operation: Mapping[str, Any]) -> str:
    return ", ".join(operation.get("requestBody", {}).get("content", ()))
