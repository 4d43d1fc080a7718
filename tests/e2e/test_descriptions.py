"""Descriptions in the renderers that frontends use, with HTML passed on and every link allowed."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

import pytest

from tests.support.hostile import TIMES, hostile_texts
from tests.support.node import needs_node, run_node
from worker.pipeline.markdown import to_markdown

pytestmark = needs_node


def harm_of(markdown: Iterable[str]) -> list[dict[str, Any]]:
    """What the renderers make of texts that no page must hold."""
    return run_node("render.mjs", "".join(f"{json.dumps(text)}\n" for text in markdown))


@pytest.mark.hostile
@pytest.mark.parametrize("seed", range(TIMES))
def test_nothing_runs_or_loads_in_any_renderer(seed: int) -> None:
    texts = hostile_texts(4_000, seed)
    assert harm_of(markdown for text in texts if (markdown := to_markdown(text))) == []


@pytest.mark.parametrize(
    "markdown",
    ["<img src=x onerror=y>", "[x](javascript:alert(1))", "![x](https://a.b/c)", "[x]\n\n[x]: data:x", "<x>"],
)
def test_the_renderers_are_as_careless_as_they_can_be(markdown: str) -> None:
    assert {found["renderer"] for found in harm_of([markdown])} == {
        "marked", "markedWithBreaks", "micromark", "micromarkGfm", "markdownIt", "showdown"
    }  # fmt: skip
