from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.pipeline.text_signature import BITS, text_signature

TEXT = (
    "You keep the boats of our rowing club afloat: you varnish hulls, mend oars and tow the launch if its motor stops. "
    "Two apprentices help you. In winter the workshop is heated, and the river is closed for ten weeks."
)


def bits(text: str) -> int:
    signature = text_signature(text)
    assert signature is not None
    assert signature[0] == "x"
    assert len(signature) == 1 + BITS // 4
    return int(signature[1:], 16)


def test_it_is_the_same_in_each_process_and_version() -> None:
    signature = text_signature("one two three")
    assert signature is not None
    assert sorted(BITS - 1 - bit for bit in range(BITS) if int(signature[1:], 16) >> bit & 1) == [193, 325]


@pytest.mark.parametrize(
    "other",
    [
        TEXT.upper(),
        TEXT.replace(" ", "  \n"),
        TEXT.replace("You keep", "**You keep**").replace("boats", "_boats_"),
        "* " + TEXT.replace(". ", ".\n* "),
        "\N{BULLET} " + TEXT.replace(". ", ".\n\N{BULLET}\N{NO-BREAK SPACE}"),
        TEXT.replace("boats", "\N{LEFT DOUBLE QUOTATION MARK}boats\N{RIGHT DOUBLE QUOTATION MARK}"),
    ],
)
def test_case_punctuation_and_markup_do_not_count(other: str) -> None:
    assert bits(other) == bits(TEXT)


def test_an_excerpt_has_no_other_bits() -> None:
    assert bits(TEXT[40:120].split(" ", 1)[1].rsplit(" ", 1)[0]) & ~bits(TEXT) == 0


def test_another_order_of_sentences_changes_few_bits() -> None:
    first, second, third = TEXT.split(". ")
    assert (bits(TEXT) ^ bits(f"{third} {second}. {first}")).bit_count() <= 4


@pytest.mark.parametrize(
    "other", ["Вы чините лодки нашего клуба и красите вёсла.", "私たちのクラブ、ボートを修理する、オールを直す。"]
)
def test_texts_in_any_script_have_one(other: str) -> None:
    assert (bits(other) & bits(TEXT)).bit_count() <= 1


@pytest.mark.parametrize("text", [None, "", " ", "word", "* - *"])
def test_a_text_without_two_words_has_none(text: str | None) -> None:
    assert text_signature(text) is None


@given(st.text() | st.text(st.characters(categories=["Cs", "Cc", "Mn", "Lo", "Zs"])))
def test_any_text_has_one_that_can_be_stored(text: str) -> None:
    signature = text_signature(text)
    assert signature is None or (len(signature) == 1 + BITS // 4 and int(signature[1:], 16) > 0)


@pytest.mark.hostile
def test_a_long_text_takes_no_longer_than_its_beginning() -> None:
    started = time.perf_counter()
    for text in ("a " * 5_000_000, "\N{BULLET}" * 5_000_000, "\N{LATIN CAPITAL LETTER I WITH DOT ABOVE}" * 5_000_000):
        text_signature(text)
    assert time.perf_counter() - started < 0.5
