"""The page /docs: whole, alone, and safe with what a schema holds. Its form is tested with a server."""

from __future__ import annotations

import dataclasses
import html.parser
import json

import pytest

from keepfit.deployment import openapi
from keepfit.types import Column, Schema
from tests.deployment.test_openapi import SCHEMA

EVIL = "</script><img src=x onerror=alert(1)>'\""


class Page(html.parser.HTMLParser):
    """Tags with their attributes, and the text of scripts."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.scripts, self.open = [], [], ""
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        self.open = tag

    def handle_endtag(self, tag):
        self.open = ""

    def handle_data(self, data):
        if self.open == "script":
            self.scripts.append(data)

    def named(self, tag):
        return [attributes for name, attributes in self.tags if name == tag]


def shown(schema=SCHEMA, name="small"):
    return openapi.page(openapi.document(schema, name, "3"))


def test_it_is_one_file_that_asks_nobody_else():
    text = shown()
    page = Page(text)
    assert len(text) < 60_000
    assert [a["href"] for a in page.named("link")] == ["data:,"]
    assert not [a for a in page.named("script") if "src" in a]
    assert "http://" not in text
    assert "https://" not in text
    assert "default-src 'none'" in page.named("meta")[1]["content"]


def test_a_field_for_each_column_with_its_example():
    page = Page(shown())
    fields = [a for _, a in page.tags if "data-name" in a]
    assert [a["data-name"] for a in fields] == [c.name for c in SCHEMA.inputs]
    assert fields[0]["value"] == "39"
    assert fields[0]["title"] == "17 to 90"
    assert len(page.named("option")) == 24
    assert json.loads(page.scripts[0])["age"] == 39


def test_many_columns_have_no_fields():
    columns = tuple(Column(f"c{k}", "number") for k in range(200))
    text = shown(Schema(columns, "regression"))
    assert "data-name" not in text.split("<script")[0]
    assert "<details open>" in text


@pytest.mark.parametrize("role", ["number", "category", "date", "text"])
def test_nothing_of_the_schema_becomes_markup(role):
    column = Column(EVIL, role, levels=(EVIL,), example=EVIL, formats=(EVIL,))
    schema = Schema((column, Column("y", "target")), "classification", f"{EVIL}!", (EVIL, "b"))
    text, tame = shown(schema, EVIL), shown(dataclasses.replace(schema, columns=(Column("a", role, levels=("b",)),)))
    page = Page(text)
    assert not page.named("img")
    assert len(page.scripts) == 2
    assert EVIL in json.loads(page.scripts[0])
    assert len(page.tags) == len(Page(tame).tags)
    assert not [a for _, a in page.tags if "onerror" in a]
