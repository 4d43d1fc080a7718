from hypothesis import given
from hypothesis import strategies as st

from worker.errors import ErrorCode, SiteError
from worker.printable import one_line


@given(st.text() | st.text(st.characters(categories=["Cs", "Cc", "Zs"])))
def test_any_message_can_be_stored_and_shown(text: str) -> None:
    message = SiteError(ErrorCode.UPSTREAM, text).message
    assert message.encode().decode() == message
    assert "\0" not in message
    assert message.splitlines() in ([], [message])
    assert len(message) <= 300


def test_a_short_message_stays_as_it_is() -> None:
    assert (
        one_line("response status code 403 (blocked: use a proxy)") == "response status code 403 (blocked: use a proxy)"
    )


def test_a_long_message_is_cut_with_a_mark() -> None:
    assert one_line("x" * 301) == "x" * 299 + "…"
