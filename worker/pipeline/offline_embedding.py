"""What runs in the child process that embeds without a network: the model is not for the worker's own memory."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

_LOWEST_PRIORITY = 19


def embed_offline(texts: Sequence[str]) -> Iterator[list[float]]:
    """Embed texts with the model that `wordllama` has in its wheel, at the lowest priority of all processes.

    Args:
        texts: Any; of one that it knows no part of, the vector is zero.

    Yields:
        Each text's vector of 256 dimensions and of any length.
    """
    os.nice(_LOWEST_PRIORITY)
    import wordllama  # noqa: PLC0415 (in the child alone)

    # Where the wheel keeps weights and tokenizer, in the layout of a download's cache.
    bundled = Path(wordllama.__file__).parent
    model = wordllama.WordLlama.load(cache_dir=bundled, disable_download=True)
    yield from model.embed(list(texts)).tolist()
