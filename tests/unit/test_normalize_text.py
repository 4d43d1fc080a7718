"""Lines: titles, organizations, locations."""

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.pipeline.text import LINE_LENGTH, clean_line, clean_lines, visible

MARKUP = st.text(st.sampled_from("<>/&;#bpr= ae\"'\\!-x0\n\t") | st.characters())


@pytest.mark.parametrize(
    ("raw", "clean"),
    [
        ("  Senior \t Engineer\n", "Senior Engineer"),
        ("<b>Senior</b> Engineer<br>Berlin", "Senior Engineer Berlin"),
        ("<b>Eng</b>ineer", "Engineer"),
        ("R&amp;D &amp;amp; QA &#8211; C&#43;&#43;", "R&D & QA \u2013 C++"),
        ("AT&T, M&A, Q&A", "AT&T, M&A, Q&A"),
        ("a < b, List<String>, <3", "a < b, List<String>, <3"),
        ("Ca\u0301diz", "Cádiz"),
        ("Soft\u00adware\u200b Engi\u200dneer\ufeff\u0007", "Software Engineer"),
        ("\u200e\u05e9\u05dc\u05d5\u05dd\u200f", "\u05e9\u05dc\u05d5\u05dd"),
        ("م\u06cc\u200c\u062e\u0648\u0627\u0647م", "م\u06cc\u200c\u062e\u0648\u0627\u0647م"),
        ("👩\u200d💻 Engineer", "👩\u200d💻 Engineer"),
        ("half \ud83d pair", "half pair"),
        ("&lt;script&gt;alert(1)&lt;/script&gt;", "alert(1)"),
        ("<!-- hidden -->Shown", "Shown"),
        ("Unknown &nosuch; entity", "Unknown &nosuch; entity"),
        ("no\u00a0break", "no break"),
    ],
)
def test_line_is_readable(raw: str, clean: str) -> None:
    assert clean_line(raw) == clean


@pytest.mark.parametrize("raw", [None, "", " \n", "<p></p>", "\u200b", "&nbsp;", "\x00"])
def test_nothing_readable_is_none(raw: str | None) -> None:
    assert clean_line(raw) is None


def test_long_line_is_cut() -> None:
    assert clean_line("word " * 1000) == ("word " * 1000)[:LINE_LENGTH].strip()


def test_combining_marks_are_limited() -> None:
    line = clean_line("e" + "\u0301\u0316" * 400)
    assert line is not None
    assert sum(unicodedata.combining(character) > 0 for character in line) <= 30


@given(MARKUP)
def test_line_is_stable_and_clean(raw: str) -> None:
    line = clean_line(raw)
    assert clean_line(line) == line
    if line is not None:
        assert 0 < len(line) <= LINE_LENGTH
        assert line == " ".join(line.split())
        assert unicodedata.is_normalized("NFC", line)
        assert not any(unicodedata.category(character) in ("Cc", "Cs") for character in line)
        line.encode()


INVISIBLE = [
    *"\0\x08\x0e\x1f\x7f\x84\x86\x9f\xad\u034f\u061c\u180e\u200b\u200e\u200f\u202a\u202e\u2060\u206f\ufeff\ufff9\ufffb",
    "\ud800",
    "\udfff",
]


@pytest.mark.parametrize("around", ["", " ", "\n", "\t\xa0", "\u00e9"])
def test_what_is_invisible_is_removed_wherever_it_is(around: str) -> None:
    for character in INVISIBLE:
        assert visible(f"a{around}{character}{around}b") == f"a{around}{around}b"
    for end in "\r\x0b\x0c\x85\u2028\u2029":
        assert visible(f"a{around}{end}b") == f"a{around}\nb"


@given(st.text(st.sampled_from("\u200c\u200d\u0301\u212bא漢e👩 \u1ebf\u0302\n\r")))
def test_visible_text_is_stable(raw: str) -> None:
    text = visible(raw)
    assert visible(text) == text


@pytest.mark.parametrize(
    ("raw", "clean"),
    [
        ("a  b\t c", "a b c"),
        ("a\n\n \n\nb", "a\n\nb"),
        ("a   \nb \nc", "a  \nb\nc"),
        ("a  \n\nb  ", "a\n\nb"),
        ("* a\n    * b", "* a\n    * b"),
        ("\n\n  a", "a"),
    ],
)
def test_whitespace_is_in_order(raw: str, clean: str) -> None:
    assert clean_lines(raw) == clean


@given(st.text(st.sampled_from(" \t\nab\u00a0\u3000")))
def test_whitespace_in_order_stays(raw: str) -> None:
    assert clean_lines(clean_lines(raw)) == clean_lines(raw)
    assert clean_lines(raw).split() == raw.split()
