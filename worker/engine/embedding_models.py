"""Embedding models: a small offline model, or any endpoint with OpenAI's API for embeddings."""

from __future__ import annotations

import math
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import aclosing, asynccontextmanager
from importlib.util import find_spec
from typing import Any, Protocol, TypeAlias

import httpx
from tenacity import AsyncRetrying, RetryCallState, retry_if_exception, stop_after_attempt, wait_random_exponential

from worker.errors import SettingsError
from worker.http.masking import mask
from worker.http.retry_after import retry_after_seconds
from worker.http.statuses import is_transient
from worker.pipeline.offline_embedding import embed_offline
from worker.printable import one_line
from worker.processes.sandbox import SandboxError, stream
from worker.settings import OFFLINE_MODEL, Settings

Vector: TypeAlias = list[float]

DIMENSIONS = 256

OFFLINE_BATCH = 1000
"""Texts of one child process, which takes 120 MiB with them. Starting it takes longer than embedding as many."""
OFFLINE_SECONDS = 120

MAX_REQUEST_LENGTH = 100_000
"""Characters of all texts of one request. OpenAI accepts 300,000 tokens; a character is rarely three of them."""
REQUEST_SECONDS = 60
"""Timeout of one request. A self-hosted server may have to load the model first."""
ATTEMPTS = 4
MAX_PAUSE_SECONDS = 30
"""Maximum pause between two attempts. If `Retry-After` is longer, the request fails at once."""

# The texts may be the reason, also of a 500: too long, or with characters that the model does not accept.
_STATUSES_OF_BAD_TEXTS = frozenset({400, 413, 422, 500})
_HARMLESS_TEXT = "Software engineer"


class EmbedderError(Exception):
    """The model cannot be used: it cannot be reached, or is not configured correctly.

    Args:
        message: The reason, without the key. Passwords in addresses are removed.
        retry_after_seconds: When to retry, if the endpoint says so.
    """

    def __init__(self, message: str, *, retry_after_seconds: float | None = None) -> None:
        super().__init__(one_line(mask(message)))
        self.retry_after_seconds = retry_after_seconds


class TextRefusedError(Exception):
    """This text cannot be embedded; others can."""


class Embedder(Protocol):
    """Embeds texts.

    Attributes:
        name: Name of the model. Vectors of different models cannot be compared.
        batch: Number of texts for one call.
    """

    @property
    def name(self) -> str: ...  # noqa: D102

    @property
    def batch(self) -> int: ...  # noqa: D102

    async def embed(self, texts: Sequence[str]) -> list[Vector | TextRefusedError]:
        """Embed texts.

        Returns:
            For each text, in order, its vector of `DIMENSIONS` numbers with length 1, or the error.

        Raises:
            EmbedderError: The model cannot be used.
        """
        ...


class OfflineEmbedder:
    """Embeds with `wordllama` (extra `embed`), in a child process for each batch."""

    name = OFFLINE_MODEL
    batch = OFFLINE_BATCH

    async def embed(self, texts: Sequence[str]) -> list[Vector | TextRefusedError]:
        """Embed texts, as `Embedder.embed`."""
        frames = stream(embed_offline, texts, deadline_seconds=OFFLINE_SECONDS)
        try:
            async with aclosing(frames):
                return [
                    TextRefusedError("the model knows no part of the text") if vector is None else vector
                    async for vectors in frames
                    for vector in vectors
                ]
        except (SandboxError, TimeoutError) as error:
            raise EmbedderError(f"{self.name}: {error}") from error


class EndpointEmbedder:
    """Embeds with an endpoint that has OpenAI's API: `POST {url}/embeddings`.

    https://platform.openai.com/docs/api-reference/embeddings

    Args:
        http: The HTTP client.
        model: Name of the model.
        url: Base URL with the version, such as `https://api.openai.com/v1`.
        api_key: The API key, if the endpoint needs one.
        batch: Maximum number of texts of one request.
        sends_dimensions: Whether to request vectors of 256 dimensions. Not every endpoint knows the parameter.
    """

    def __init__(
        self,
        http: httpx.AsyncClient,
        *,
        model: str,
        url: str,
        api_key: str | None = None,
        batch: int = 100,
        sends_dimensions: bool = True,
    ) -> None:
        self.name = model
        self.batch = batch
        self._http = http
        self._url = f"{url.rstrip('/')}/embeddings"
        self._api_key = api_key
        self._sends_dimensions = sends_dimensions

    async def embed(self, texts: Sequence[str]) -> list[Vector | TextRefusedError]:
        """Embed texts, as `Embedder.embed`."""
        embedded: list[Vector | TextRefusedError] = [TextRefusedError("the text is blank")] * len(texts)
        places = [place for place, text in enumerate(texts) if text.strip()]
        for some in self._requests(places, texts):
            answers = await self._embed([texts[place] for place in some])
            for place, answer in zip(some, answers, strict=True):
                embedded[place] = answer
        return embedded

    def _requests(self, places: Sequence[int], texts: Sequence[str]) -> Iterator[list[int]]:
        request: list[int] = []
        length = 0
        for place in places:
            if request and (len(request) == self.batch or length + len(texts[place]) > MAX_REQUEST_LENGTH):
                yield request
                request, length = [], 0
            request.append(place)
            length += len(texts[place])
        if request:
            yield request

    async def _embed(self, texts: Sequence[str]) -> list[Vector | TextRefusedError]:
        try:
            return [*await self._request(texts)]
        except httpx.HTTPStatusError as error:
            if error.response.status_code not in _STATUSES_OF_BAD_TEXTS:
                raise self._failure(error) from error
        # If this is refused as well, the texts are not the reason.
        try:
            await self._request([_HARMLESS_TEXT])
        except httpx.HTTPStatusError as error:
            raise self._failure(error) from error
        return await self._embed_by_halves(texts)

    async def _embed_by_halves(self, texts: Sequence[str]) -> list[Vector | TextRefusedError]:
        embedded: list[Vector | TextRefusedError] = []
        middle = (len(texts) + 1) // 2
        for half in filter(None, (texts[:middle], texts[middle:])):
            try:
                embedded += await self._request(half)
            except httpx.HTTPStatusError as error:
                if error.response.status_code not in _STATUSES_OF_BAD_TEXTS:
                    raise self._failure(error) from error
                if len(half) == 1:
                    embedded.append(TextRefusedError(str(self._failure(error))))
                else:
                    embedded += await self._embed_by_halves(half)
        return embedded

    async def _request(self, texts: Sequence[str]) -> list[Vector]:
        """Embed texts with one request. Transient failures are retried.

        Raises:
            httpx.HTTPStatusError: The endpoint refused the request.
            EmbedderError: The endpoint did not answer, or not with vectors of 256 dimensions.
        """
        body: dict[str, Any] = {"model": self.name, "input": list(texts)}
        if self._sends_dimensions:
            body["dimensions"] = DIMENSIONS
        headers = {"Authorization": f"Bearer {self._api_key}"} if self._api_key else {}
        try:
            async for attempt in AsyncRetrying(
                retry=retry_if_exception(_is_worth_another_attempt),
                wait=_pause_seconds,
                stop=stop_after_attempt(ATTEMPTS),
                reraise=True,
            ):
                with attempt:
                    answer = await self._http.post(self._url, json=body, headers=headers)
                    answer.raise_for_status()
                    return self._vectors(answer, len(texts))
        except httpx.TransportError as error:
            raise EmbedderError(f"{self._url}: {str(error) or type(error).__name__}") from error
        raise AssertionError("unreachable: an attempt returns, raises or is retried")

    def _vectors(self, answer: httpx.Response, count: int) -> list[Vector]:
        try:
            # The order of the answer is not guaranteed.
            vectors = {entry["index"]: entry["embedding"] for entry in answer.json()["data"]}
            ordered = [vectors[index] for index in range(count)]
        except (ValueError, KeyError, TypeError) as error:
            raise EmbedderError(
                f"{self._url} does not answer as an OpenAI-compatible endpoint: {type(error).__name__} {error}"
            ) from error
        return [self._vector(vector) for vector in ordered]

    def _vector(self, numbers: Any) -> Vector:
        if isinstance(numbers, list) and len(numbers) != DIMENSIONS:
            advice = (
                "choose a model that has them, or that takes the parameter dimensions"
                if self._sends_dimensions
                else "have it asked for them (WORKER_EMBEDDING_SEND_DIMENSIONS), or choose another model"
            )
            raise EmbedderError(
                f"{self.name} at {self._url} gives vectors of {len(numbers)} dimensions, not {DIMENSIONS}: {advice}"
            )
        try:
            return _unit(numbers)
        except (ValueError, TypeError) as error:
            raise EmbedderError(f"{self.name} at {self._url} gives what is no vector: {error}") from error

    def _failure(self, error: httpx.HTTPStatusError) -> EmbedderError:
        answer = error.response
        text = answer.text
        if self._api_key:
            text = text.replace(self._api_key, "***")
        return EmbedderError(
            f"{self._url} answers HTTP {answer.status_code}: {text}",
            retry_after_seconds=retry_after_seconds(answer.headers),
        )


@asynccontextmanager
async def open_embedder(settings: Settings) -> AsyncIterator[Embedder | None]:
    """Open the embedding model of the settings; None if they name none.

    Raises:
        SettingsError: The model is not installed.
    """
    model, url, key = settings.embedding_model, settings.embedding_url, settings.embedding_api_key
    if model is None:
        yield None
    elif model == OFFLINE_MODEL:
        if find_spec("wordllama") is None:
            raise SettingsError(
                f"{Settings.environment_name('embedding_model')}: {model} is not installed: "
                "pip install 'supabase-search-worker[embed]'"
            )
        yield OfflineEmbedder()
    else:
        assert url is not None, "the settings require one"
        async with httpx.AsyncClient(timeout=REQUEST_SECONDS) as http:
            yield EndpointEmbedder(
                http,
                model=model,
                url=url,
                api_key=None if key is None else key.get_secret_value(),
                batch=settings.embedding_batch,
                sends_dimensions=settings.embedding_send_dimensions,
            )


def _unit(numbers: Sequence[float]) -> Vector:
    length = math.hypot(*numbers)
    if not math.isfinite(length) or length == 0:
        raise ValueError(f"its length is {length}")
    return [number / length for number in numbers]


def _is_worth_another_attempt(error: BaseException) -> bool:
    if isinstance(error, httpx.HTTPStatusError):
        status = error.response.status_code
        return is_transient(status) and (retry_after_seconds(error.response.headers) or 0) <= MAX_PAUSE_SECONDS
    return isinstance(error, httpx.TransportError)


_exponential = wait_random_exponential(multiplier=0.5, max=MAX_PAUSE_SECONDS)


def _pause_seconds(state: RetryCallState) -> float:
    assert state.outcome is not None
    error = state.outcome.exception()
    asked = retry_after_seconds(error.response.headers) if isinstance(error, httpx.HTTPStatusError) else None
    return _exponential(state) if asked is None else asked
