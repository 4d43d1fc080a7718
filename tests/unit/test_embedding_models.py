from __future__ import annotations

import asyncio
import json
import math
import sys
from collections.abc import AsyncIterator, Callable, Sequence
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import httpx
import pytest
import respx
import wordllama
from hypothesis import given
from hypothesis import strategies as st

from tests.support.loopback import LOOPBACK, Server, listen
from worker.engine.embedding_models import (
    ATTEMPTS,
    DIMENSIONS,
    MAX_REQUEST_LENGTH,
    EmbedderError,
    EndpointEmbedder,
    OfflineEmbedder,
    TextRefusedError,
)
from worker.model import Item
from worker.pipeline.embeddings import MAX_TEXT_LENGTH, embedding_text

URL = "https://models.example.com/v1"
KEY = "sk-very-secret"


def item(**fields: Any) -> Item:
    return Item(**{"external_id": "1", "title": "Engineer", "url": "https://example.com/1"} | fields)


# The text ----------------------------------------------------------------------------------------------------------


def test_the_text_has_the_words_of_each_part() -> None:
    found = item(organization="Acme", location="Berlin, DE", description="**We build.**\n\n* You, too.")
    assert embedding_text(found) == "Engineer Acme Berlin DE We build You too"


@pytest.mark.parametrize("missing", [None, "", "  \n"])
def test_missing_parts_are_left_out(missing: str | None) -> None:
    found = item(organization=missing, location="Berlin", description=missing)
    assert embedding_text(found) == "Engineer Berlin"


def test_of_a_description_the_beginning_counts() -> None:
    found = item(description="a" * MAX_TEXT_LENGTH + "b")
    assert embedding_text(found) == ("Engineer " + "a" * MAX_TEXT_LENGTH)[:MAX_TEXT_LENGTH]


@given(st.builds(item, title=st.text(), organization=st.none() | st.text(), description=st.none() | st.text()))
def test_a_text_has_no_space_around_it(found: Item) -> None:
    assert embedding_text(found) == embedding_text(found).strip()


# An endpoint -------------------------------------------------------------------------------------------------------


def vector_of(text: str) -> list[float]:
    """A vector that tells one text from another; not of length 1."""
    return [float(len(text)), 3.0] + [0.0] * (DIMENSIONS - 2)


def is_of(answer: object, text: str) -> bool:
    assert isinstance(answer, list)
    return bool(answer[0] / answer[1] == pytest.approx(len(text) / 3))


class Endpoint:
    """What an endpoint answers, and what it was asked."""

    def __init__(self, mock: respx.MockRouter) -> None:
        self.requests: list[dict[str, Any]] = []
        self.headers: list[httpx.Headers] = []
        self.refuses: Callable[[Sequence[str]], httpx.Response | None] = lambda _: None
        mock.post(f"{URL}/embeddings").mock(side_effect=self._answer)

    def _answer(self, request: httpx.Request) -> httpx.Response:
        body = json.loads(request.content)
        self.requests.append(body)
        self.headers.append(request.headers)
        if refusal := self.refuses(body["input"]):
            return refusal
        data = [{"index": index, "embedding": vector_of(text)} for index, text in enumerate(body["input"])]
        return httpx.Response(200, json={"data": data[::-1]})


@pytest.fixture
def endpoint(respx_mock: respx.MockRouter) -> Endpoint:
    return Endpoint(respx_mock)


@pytest.fixture
async def http() -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(timeout=1) as client:
        yield client


@pytest.fixture
def slept(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The pauses that were made; none takes any time."""
    pauses: list[float] = []

    async def sleep(seconds: float) -> None:
        pauses.append(seconds)

    monkeypatch.setattr(asyncio, "sleep", sleep)  # what tenacity sleeps with
    return pauses


def embedder(http: httpx.AsyncClient, **arguments: Any) -> EndpointEmbedder:
    return EndpointEmbedder(http, **{"model": "small", "url": f"{URL}/", "api_key": KEY} | arguments)


async def test_vectors_come_in_the_order_of_the_texts_and_of_length_1(
    endpoint: Endpoint, http: httpx.AsyncClient
) -> None:
    texts = ["a", "bb", "ccc"]
    answers = await embedder(http).embed(texts)
    for text, answer in zip(texts, answers, strict=True):
        assert is_of(answer, text)
        assert isinstance(answer, list)
        assert len(answer) == DIMENSIONS
        assert math.hypot(*answer) == pytest.approx(1)
    assert endpoint.requests == [{"model": "small", "input": texts, "dimensions": DIMENSIONS}]
    assert endpoint.headers[0]["authorization"] == f"Bearer {KEY}"


async def test_neither_key_nor_dimensions_are_sent_where_there_are_none(
    endpoint: Endpoint, http: httpx.AsyncClient
) -> None:
    await embedder(http, api_key=None, sends_dimensions=False).embed(["a"])
    assert endpoint.requests == [{"model": "small", "input": ["a"]}]
    assert "authorization" not in endpoint.headers[0]


async def test_requests_are_bounded_in_number_and_in_length(endpoint: Endpoint, http: httpx.AsyncClient) -> None:
    texts = ["x" * n for n in (1, 2, 3, MAX_REQUEST_LENGTH - 10, 20, 30)]
    answers = await embedder(http, batch=2).embed(texts)
    assert all(is_of(answer, text) for text, answer in zip(texts, answers, strict=True))
    assert [[len(text) for text in request["input"]] for request in endpoint.requests] == [
        [1, 2],
        [3, MAX_REQUEST_LENGTH - 10],
        [20, 30],
    ]


async def test_a_blank_text_is_refused_and_never_sent(endpoint: Endpoint, http: httpx.AsyncClient) -> None:
    blank, answer, space = await embedder(http).embed(["", "aa", " \n"])
    assert isinstance(blank, TextRefusedError)
    assert isinstance(space, TextRefusedError)
    assert is_of(answer, "aa")
    assert [request["input"] for request in endpoint.requests] == [["aa"]]
    assert all(isinstance(answer, TextRefusedError) for answer in await embedder(http).embed([" "]))
    assert len(endpoint.requests) == 1


@pytest.mark.parametrize("status", [400, 413, 422])
@pytest.mark.parametrize("bad", [{0}, {5}, {0, 3, 9}])
async def test_a_text_that_is_refused_fails_alone(
    endpoint: Endpoint, http: httpx.AsyncClient, status: int, bad: set[int]
) -> None:
    texts = [f"{'bad' if number in bad else 'good'} {'x' * number}" for number in range(10)]
    endpoint.refuses = lambda asked: (
        httpx.Response(status, text=f"too long, said to {KEY}")
        if any(text.startswith("bad") for text in asked)
        else None
    )
    answers = await embedder(http).embed(texts)
    for number, (text, answer) in enumerate(zip(texts, answers, strict=True)):
        if number in bad:
            assert isinstance(answer, TextRefusedError)
            assert f"HTTP {status}: too long" in str(answer)
            assert KEY not in str(answer)
        else:
            assert is_of(answer, text)


async def test_one_bad_text_costs_few_requests(endpoint: Endpoint, http: httpx.AsyncClient) -> None:
    endpoint.refuses = lambda asked: httpx.Response(400) if "bad" in asked else None
    await embedder(http).embed(["good"] * 60 + ["bad"] + ["good"] * 39)
    # Two for each halving of 100, one for all, and one to see whether anything is taken.
    assert len(endpoint.requests) <= 2 + 2 * math.ceil(math.log2(100))


async def test_what_refuses_everything_is_not_set_up(endpoint: Endpoint, http: httpx.AsyncClient) -> None:
    endpoint.refuses = lambda _: httpx.Response(400, json={"error": "no such parameter: dimensions"})
    with pytest.raises(EmbedderError, match="no such parameter: dimensions"):
        await embedder(http).embed(["a", "b"])
    assert len(endpoint.requests) == 2


async def test_a_text_that_breaks_the_server_fails_alone(
    endpoint: Endpoint, http: httpx.AsyncClient, slept: list[float]
) -> None:
    endpoint.refuses = lambda asked: httpx.Response(500) if "bad" in asked else None
    bad, good = await embedder(http).embed(["bad", "good"])
    assert isinstance(bad, TextRefusedError)
    assert is_of(good, "good")
    assert slept


@pytest.mark.parametrize("status", [401, 402, 403, 404, 301])
async def test_a_refusal_is_reported_without_the_key(endpoint: Endpoint, http: httpx.AsyncClient, status: int) -> None:
    endpoint.refuses = lambda _: httpx.Response(status, text=f"Incorrect key: {KEY}")
    with pytest.raises(EmbedderError, match=rf"answers HTTP {status}: Incorrect key: \*\*\*"):
        await embedder(http).embed(["a"])
    assert len(endpoint.requests) == 1


@pytest.mark.parametrize("status", [408, 425, 429, 502, 503, 504])
async def test_temporary_errors_are_retried(
    endpoint: Endpoint, http: httpx.AsyncClient, slept: list[float], status: int
) -> None:
    endpoint.refuses = lambda _: httpx.Response(status) if len(endpoint.requests) < ATTEMPTS else None
    assert is_of((await embedder(http).embed(["a"]))[0], "a")
    assert len(slept) == ATTEMPTS - 1

    endpoint.refuses = lambda _: httpx.Response(status)
    endpoint.requests.clear()
    with pytest.raises(EmbedderError, match=f"HTTP {status}"):
        await embedder(http).embed(["a", "b"])
    assert len(endpoint.requests) == ATTEMPTS


async def test_the_retry_after_of_the_endpoint_is_used(
    endpoint: Endpoint, http: httpx.AsyncClient, slept: list[float]
) -> None:
    asked = iter(["7", format_datetime(datetime.now(UTC) + timedelta(seconds=20), usegmt=True), "soon"])
    endpoint.refuses = lambda _: (
        httpx.Response(429, headers={"Retry-After": after}) if (after := next(asked, None)) else None
    )
    assert is_of((await embedder(http).embed(["a"]))[0], "a")
    seconds, date, unreadable = slept
    assert seconds == 7
    assert 15 < date <= 20
    assert 0 <= unreadable <= 30


async def test_a_long_pause_is_not_waited_for(endpoint: Endpoint, http: httpx.AsyncClient, slept: list[float]) -> None:
    endpoint.refuses = lambda _: httpx.Response(429, headers={"Retry-After": "3600"})
    with pytest.raises(EmbedderError) as refused:
        await embedder(http).embed(["a"])
    assert refused.value.retry_after_seconds == 3600
    assert len(endpoint.requests) == 1
    assert slept == []


@pytest.mark.parametrize("error", [httpx.ConnectError("no route to host"), httpx.ReadTimeout("")])
async def test_an_endpoint_out_of_reach(
    respx_mock: respx.MockRouter, http: httpx.AsyncClient, slept: list[float], error: Exception
) -> None:
    route = respx_mock.post(f"{URL}/embeddings").mock(side_effect=error)
    with pytest.raises(EmbedderError, match=r"no route to host|ReadTimeout"):
        await embedder(http).embed(["a"])
    assert route.call_count == ATTEMPTS == len(slept) + 1


async def test_a_silent_endpoint_is_given_up(http: httpx.AsyncClient, slept: list[float]) -> None:
    async def say_nothing(_: asyncio.StreamReader, __: asyncio.StreamWriter) -> None:
        await asyncio.Event().wait()

    http.timeout = httpx.Timeout(0.1)
    server = Server()
    async with listen(server, say_nothing):
        with pytest.raises(EmbedderError, match="ReadTimeout"):
            await embedder(http, url=f"http://{LOOPBACK}:{server.port}").embed(["a"])
    assert len(slept) == ATTEMPTS - 1


@pytest.mark.parametrize(
    ("sends_dimensions", "advice"),
    [(True, "takes the parameter dimensions"), (False, "WORKER_EMBEDDING_SEND_DIMENSIONS")],
)
async def test_vectors_of_another_length_are_refused(
    respx_mock: respx.MockRouter, http: httpx.AsyncClient, sends_dimensions: bool, advice: str
) -> None:
    answer = {"data": [{"index": 0, "embedding": [0.1] * 1536}]}
    respx_mock.post(f"{URL}/embeddings").respond(json=answer)
    with pytest.raises(EmbedderError, match=rf"vectors of 1536 dimensions, not 256: .*{advice}"):
        await embedder(http, sends_dimensions=sends_dimensions).embed(["a"])


@pytest.mark.parametrize(
    "answer",
    [
        "<html>",
        "null",
        "[]",
        '{"data": null}',
        '{"data": []}',
        '{"data": [{"embedding": [1]}]}',
        '{"data": [{"index": 1, "embedding": [1]}]}',
        '{"data": [{"index": 0, "embedding": "AAAA"}]}',
        '{"data": [{"index": 0, "embedding": null}]}',
        json.dumps({"data": [{"index": 0, "embedding": ["1"] * DIMENSIONS}]}),
        json.dumps({"data": [{"index": 0, "embedding": [0] * DIMENSIONS}]}),
        json.dumps({"data": [{"index": 0, "embedding": [math.nan] * DIMENSIONS}]}),
    ],
)
async def test_an_answer_of_another_kind_is_refused(
    respx_mock: respx.MockRouter, http: httpx.AsyncClient, answer: str
) -> None:
    respx_mock.post(f"{URL}/embeddings").respond(text=answer)
    with pytest.raises(EmbedderError, match=r"not answer as an OpenAI-compatible|no vector"):
        await embedder(http).embed(["a"])


# Without a network ---------------------------------------------------------------------------------------------------


def cosine(first: object, second: object) -> float:
    assert isinstance(first, list)
    assert isinstance(second, list)
    return math.fsum(one * other for one, other in zip(first, second, strict=True))


async def test_the_offline_model_finds_similar_texts() -> None:
    engineer, developer, baker = await OfflineEmbedder().embed(
        ["Senior Python engineer\nAcme", "Python backend developer\nAcme Inc.", "Baker, night shift\nGolden Crust"]
    )
    for vector in (engineer, developer, baker):
        assert isinstance(vector, list)
        assert len(vector) == DIMENSIONS
        assert math.hypot(*vector) == pytest.approx(1)
    assert cosine(engineer, developer) > 0.5 > cosine(engineer, baker)


async def test_the_offline_model_is_that_of_the_library() -> None:
    model = wordllama.WordLlama.load(cache_dir=Path(wordllama.__file__).parent, disable_download=True)
    texts = [
        "Senior Python engineer Acme Berlin", "a", "C 3 x 17", "a_b __init__ _x", "\uff21\uff43\uff4d\uff45",
        "\ufb01 \u00bd \u00b2", "Zürich größe naïve Łódź", "日本語 テキスト 株式会社", "مرحبا بالعالم", "नमस्ते दुनिया",
        "\U0001d4d0 word", "x" * 300,
        " ".join(f"word{number} again" for number in range(300)),
    ]  # fmt: skip
    expected = model.embed(texts, norm=True).tolist()
    found = await OfflineEmbedder().embed(texts * 9)
    for vector, same in zip(found, expected * 9, strict=True):
        assert vector == pytest.approx(same, abs=1e-6)


async def test_the_offline_model_refuses_texts_without_known_tokens() -> None:
    nothing, something = await OfflineEmbedder().embed(["", "x"])
    assert isinstance(nothing, TextRefusedError)
    assert isinstance(something, list)


async def test_the_offline_model_is_not_in_the_workers_memory() -> None:
    program = """
import asyncio, sys
from worker.engine.embedding_models import OfflineEmbedder

async def main():
    await OfflineEmbedder().embed(["x"])
    print({name.partition(".")[0] for name in sys.modules} & {"wordllama", "numpy", "tokenizers", "rapidfuzz"})

asyncio.run(main())
"""
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", program, stdout=asyncio.subprocess.PIPE)
    stdout, _ = await process.communicate()
    assert (process.returncode, stdout.strip()) == (0, b"set()")
