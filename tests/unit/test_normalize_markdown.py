"""Descriptions."""

import re
import time
from html.parser import HTMLParser

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from tests.support.hostile import FRAGMENTS, hostile
from worker.pipeline.markdown import DESCRIPTION_LENGTH, to_markdown, to_plain

MARKDOWN_ELEMENTS = {
    "a", "blockquote", "br", "code", "em", "h1", "h2", "h3", "h4", "h5", "h6", "hr", "li", "ol", "p", "pre", "strong",
    "ul",
}  # fmt: skip

HTML = """
<div class="description">
  <p>We build <strong>rockets</strong>&nbsp;&amp; <em>fly</em> them.<br>Join us!</p>
  <h3>What you <b>do</b></h3>
  <ul>
    <li>Write C++</li>
    <li><p>Test it</p><p>Twice</p>
      <ol><li>on the ground</li><li>in the air</li></ol>
    </li>
  </ul>
  <table><tr><th>Level</th><th>Pay</th></tr><tr><td>Junior</td><td>$50,000</td></tr></table>
  <p>See <a href="https://example.com/jobs?id=1&amp;team=a (b)">our site</a>.</p>
  <img src="https://example.com/pixel.gif" alt="pixel"><script>alert(1)</script><style>p { color: red }</style>
</div>
"""
MARKDOWN = """We build **rockets** & *fly* them.  
Join us!

### What you do

- Write C++
- Test it

  Twice

  1. on the ground
  2. in the air

Level | Pay  
Junior | $50,000

See [our site](https://example.com/jobs?id=1&team=a%20%28b%29)."""  # noqa: W291 (line breaks)

HOSTILE = st.lists(st.sampled_from(FRAGMENTS) | st.text(max_size=5), max_size=40).map("".join)


def test_html_becomes_markdown() -> None:
    assert to_markdown(HTML) == MARKDOWN


@pytest.mark.parametrize(
    ("raw", "markdown"),
    [
        (MARKDOWN, MARKDOWN),
        ("Plain text.\r\n\r\n\r\nWith   blanks. ", "Plain text.\n\nWith blanks."),
        ("x < y && List<String> <3, AT&T", "x < y && List&lt;String> <3, AT&T"),
        ("A <= B\nC \\<d>", "A <= B\nC &lt;d>"),
        ("Fish &amp; Chips &#8217;n&#8217; more", "Fish & Chips \u2019n\u2019 more"),
        ("A line<br>and <b>another</b>\nand a third", "A line\nand another\nand a third"),
        ("<b>Bold</b><br>line", "**Bold**  \nline"),
        ("&lt;p&gt;Escaped &amp;amp; HTML&lt;/p&gt;", "Escaped & HTML"),
        ("<p>Literal &lt;script&gt; and &amp;lt;b&amp;gt;</p>", "Literal &lt;script> and \\&lt;b\\&gt;"),
        ("<p>2 * 3 = 6, snake_case, _not emphasis_</p>", "2 \\* 3 = 6, snake_case, \\_not emphasis\\_"),
        ("<p># no heading</p><p>&gt; no quote</p>", "\\# no heading\n\n\\> no quote"),
        ("<p>- item</p>", "- item"),
        ("<p><b> spaced </b>out<b></b></p>", "**spaced** out"),
        ("<p><b>a<i>b</i></b>c</p>", "**a *b***c"),
        ("<h2><b>Title</b></h2>text", "## Title\n\ntext"),
        ("<blockquote><p>Quote</p></blockquote>", "> Quote"),
        ("<pre>line one\nline two</pre>", "line one  \nline two"),
        ("<ul><li><ul><li>deep</li></ul></li></ul>", "- deep"),
        ("<p>unclosed <b>bold", "unclosed **bold**"),
        ("</p></div>only ends", "only ends"),
        ("<a href='mailto:jobs@example.com'>Write</a> to us", "[Write](mailto:jobs@example.com) to us"),
        ("<svg><text>drawing</text></svg><p>text</p>", "text"),
        ('<meta charset="latin-1"><p>Zürich</p>', "Zürich"),
    ],
)
def test_text_is_kept(raw: str, markdown: str) -> None:
    assert to_markdown(raw) == markdown


@pytest.mark.parametrize(
    ("raw", "markdown"),
    [
        # Emphasis that touches text.
        ("**Location**Berlin", "**Location** Berlin"),
        ("**Job id**4711", "**Job id** 4711"),
        ("**Start:**immediately", "**Start:** immediately"),
        ("**Start:**1 May", "**Start:** 1 May"),
        ("**EU**Berlin", "**EU** Berlin"),
        ("**Pay:**\u20ac20", "**Pay:** \u20ac20"),
        ("**Pay:**$20", "**Pay:** $20"),
        ("**Level 3**Nurse", "**Level 3** Nurse"),
        ("Pay**Weekly**", "Pay **Weekly**"),
        ("Pay**$20**", "Pay **$20**"),
        ("word**(bold)**", "word **(bold)**"),
        ("- **Team**Sales\n- **City:**Bonn", "- **Team** Sales\n- **City:** Bonn"),
        ("*Contact*Jane", "*Contact* Jane"),
        ("***Contact:***Jane", "***Contact:*** Jane"),
        ("**経験\uff1a**必須", "**経験\uff1a** 必須"),
        ("[**Apply**](https://example.com/a)Now", "[**Apply**](https://example.com/a)Now"),
        # Emphasis that touches emphasis.
        ("**sales****, marketing**", "**sales, marketing**"),
        ("**a****b****c**", "**abc**"),
        ("**Title:****Engineer**", "**Title: Engineer**"),
        ("**Title****Engineer**", "**Title Engineer**"),
        ("**a***b*", "**a** *b*"),
        ("*a***b**", "*a* **b**"),
        # Space within emphasis.
        ("**Skills: **Java", "**Skills:** Java"),
        ("**Skills: ** Java", "**Skills:** Java"),
        ("**Skills: **", "**Skills:**"),
        # What is right, or no emphasis, stays.
        ("**B**ig and sma**ll**", "**B**ig and sma**ll**"),
        ("**bold**, (**bold**) and \u201c**bold**\u201d.", "**bold**, (**bold**) and \u201c**bold**\u201d."),
        ("Entwickler*innen und Partner*Innen", "Entwickler*innen und Partner*Innen"),
        ("Pay* and bonus*", "Pay* and bonus*"),
        ("2 * 3 * 4, 2**3, a ** b ** c", "2 * 3 * 4, 2**3, a ** b ** c"),
        ("A **** hotel, f****d", "A **** hotel, f****d"),
        ("***\n* * *\n****\n* item", "***\n* * *\n****\n* item"),
        ("`**x**Y`", "`**x**Y`"),
        ("\\*\\*x\\*\\*Y **z", "\\*\\*x\\*\\*Y **z"),
        ("https://example.com/**a**B", "https://example.com/**a** B"),
        ("[x](https://example.com/**a**B)", "[x](https://example.com/**a**B)"),
        ("snake_case and _emphasis_", "snake_case and _emphasis_"),
        # The same as HTML.
        ("<p><b>Location</b>Berlin</p>", "**Location** Berlin"),
        ("<p><b>Location:</b>Berlin</p>", "**Location:** Berlin"),
        ("<p><b>sales</b><b>, marketing</b></p>", "**sales, marketing**"),
        ("<p><strong>sales</strong><b>, </b><i>marketing</i></p>", "**sales,** *marketing*"),
        ("<p><b>a</b><i>b</i></p>", "**a** *b*"),
        ("<p><i>a<b>b</b></i>c</p>", "*a* ***b***c"),
        ("<p>Pay<b>($20)</b></p>", "Pay **($20)**"),
    ],
)
def test_emphasis_is_valid(raw: str, markdown: str) -> None:
    assert to_markdown(raw) == markdown
    assert to_markdown(markdown) == markdown


WORDS = st.sampled_from(["a", "B", "7", "a b", "x:", "(y)", "$5", "z.", "\u00e9", "\u7d4c"])


@given(
    st.lists(
        st.tuples(st.sampled_from(["{}", "<b>{}</b>", "<i>{}</i>", "<b><i>{}</i></b>", " {} "]), WORDS), max_size=8
    )
)
def test_html_emphasis_is_shown_as_such(parts: list[tuple[str, str]]) -> None:
    markdown = to_markdown("<p>" + "".join(style.format(word) for style, word in parts) + "</p>")
    assert "*" not in re.sub("<[^>]*>", "", MarkdownIt("commonmark").render(markdown or ""))


@hostile(100)
@given(
    st.lists(
        st.sampled_from(["*", "**", "***", "****", "a", "B", "7", ":", "(", " ", "\\", "`", "\n", "<b>", "</b>", "]("])
    ).map("".join)
)
def test_emphasis_is_stable(raw: str) -> None:
    markdown = to_markdown(raw)
    assert to_markdown(markdown) == markdown
    assert_harmless(markdown)


@pytest.mark.parametrize("part", ["**a**B", "**", "*a", "**a ", "a****", "*a **b", "**a**B\n"])
def test_long_emphasis_is_read_in_linear_time(part: str) -> None:
    started = time.process_time()
    to_markdown(part * (DESCRIPTION_LENGTH // len(part)))
    assert time.process_time() - started < 1


@pytest.mark.parametrize("raw", [None, "", "  \n", "<p> </p>", "<script>alert(1)</script>", "<img src=x>", "&nbsp;"])
def test_nothing_left_is_none(raw: str | None) -> None:
    assert to_markdown(raw) is None


@pytest.mark.parametrize(
    "raw",
    [
        "<a href='javascript:alert(1)'>x</a>",
        "<p><a href=' java\nscript:alert(1)'>x</a>",
        "<p><a href='&#106;avascript:alert(1)'>x</a>",
        "<a href='data:text/html,x'>x</a>",
        "<p>[x](javascript:alert(1))</p>",
        "[x](javascript:alert(1))",
        "[x]( <JavaScript:alert(1)>)",
        "[x](&#106;avascript:alert(1))",
        "[x](java\\script:alert(1))",
        "[x]\n\n[x]: javascript:alert(1)",
        "> [x]:\n> javascript:alert(1) [x]",
        "<javascript:alert(1)>",
        "![x](https://example.com/pixel.gif)",
        "![x [y]](https://example.com/pixel.gif)",
        "<img src=x onerror=alert(1)>\n",
        "text\n<img src=x onerror=alert(1) ",
        "text\n<svg/onload=alert(1)>",
        "text\n<x onclick=alert(1)>",
        "text\n<<b>script>alert(1)<</b>/script>",
        "text\n<!-- --!><script>alert(1)</script>",
        "text\n&lt;img src=x onerror=alert(1)&gt;",
        "<p>&lt;iframe src=x&gt;</p>",
        "<p>&lt;foo&gt;<br>&lt;img src=x onerror=alert(1)&gt;</p>",
        "<blockquote>[x](<br>javascript:alert(1))</blockquote>",
        "> [x]:\n> javascript:alert(1)\n\n[x]",
        "[x] (javascript:alert(1))",
        "[x](/relative)",
        "text\n<plaintext>",
        "text\n<xmp><img src=x>",
        "text\n<noembed><img src=x onerror=alert(1)></noembed>",
        "text\n<noframes><img src=x onerror=alert(1)></noframes>",
        "text\n<of-another-name>",
    ],
)
def test_nothing_runs_or_loads(raw: str) -> None:
    assert_harmless(to_markdown(raw))


def any_link(url: str) -> bool:
    return bool(url)


class Rendered(HTMLParser):
    """What a browser would find: the elements, and where they lead."""

    def __init__(self, html: str) -> None:
        super().__init__(convert_charrefs=True)
        self.elements: set[str] = set()
        self.links: list[str] = []
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.add(tag)
        self.links += [value or "" for name, value in attrs if name == "href"]
        assert {name for name, _ in attrs} <= {"href", "title", "start", "class"}, attrs

    def handle_decl(self, decl: str) -> None:
        raise AssertionError(decl)

    def handle_comment(self, data: str) -> None:
        raise AssertionError(data)

    def handle_pi(self, data: str) -> None:
        raise AssertionError(data)

    def unknown_decl(self, data: str) -> None:
        raise AssertionError(data)


def assert_harmless(markdown: str | None) -> None:
    """Render as the most careless frontend would: with HTML passed on, and any link allowed."""
    renderer = MarkdownIt("commonmark", {"html": True})
    renderer.validateLink = any_link  # type: ignore[method-assign]  # the library's own hook
    rendered = Rendered(renderer.render(markdown or ""))
    assert rendered.elements <= MARKDOWN_ELEMENTS, markdown
    for link in rendered.links:
        assert re.match(r"(?i)(https?|mailto):", link), markdown


@hostile(100)
@given(HOSTILE)
def test_description_is_stable_and_harmless(raw: str) -> None:
    markdown = to_markdown(raw)
    assert to_markdown(markdown) == markdown
    assert_harmless(markdown)


@pytest.mark.parametrize("tag", ["div", "b", "ul><li", "table><tr><td", "blockquote", "pre", "font"])
def test_deep_nesting_is_read(tag: str) -> None:
    assert "end" in (to_markdown(f"<{tag}>" * 5_000 + "end") or "")


def test_long_description_is_cut_between_words() -> None:
    markdown = to_markdown("<p>" + "word " * DESCRIPTION_LENGTH)
    assert markdown is not None
    assert DESCRIPTION_LENGTH - 5 <= len(markdown) <= DESCRIPTION_LENGTH
    assert markdown.endswith("word")
    assert to_markdown(markdown) == markdown


@pytest.mark.parametrize("start", range(2))
@pytest.mark.parametrize("part", ["**a**B ", "**a] ****(javascript:x)** ", "**a****b** ** ", "<b>a</b>B ", "**a:**b"])
def test_cut_emphasis_is_stable_and_harmless(start: int, part: str) -> None:
    markdown = to_markdown("x" * start + part * (DESCRIPTION_LENGTH // len(part) + 10))
    assert markdown is not None
    assert len(markdown) <= DESCRIPTION_LENGTH
    assert to_markdown(markdown) == markdown
    assert_harmless(markdown)


@given(st.lists(st.from_regex(r"[a-z]{1,8}", fullmatch=True), min_size=1))
def test_words_survive(words: list[str]) -> None:
    html = "".join(f"<p><b>{word}</b></p>" for word in words)
    assert to_plain(to_markdown(html) or "").split() == words


@pytest.mark.parametrize(
    ("markdown", "plain"),
    [
        ("**5\\+ years** of *C\\+\\+* and `go`", "5+ years of C++ and go"),
        ("See [our site](https://example.com/java)", "See [our site]"),
        ("snake_case __strong__", "snake_case strong"),
    ],
)
def test_plain_words(markdown: str, plain: str) -> None:
    assert to_plain(markdown) == plain
