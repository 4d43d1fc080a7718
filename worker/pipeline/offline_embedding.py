"""Embeds texts offline in a child process, so that the model does not use the worker's own memory."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

_LOWEST_PRIORITY = 19


def embed_offline(texts: Sequence[str]) -> Iterator[list[float]]:
    """Embed texts with the model in the wheel of `wordllama`, at the lowest CPU priority.

    Args:
        texts: Any texts. A text without known tokens has a zero vector.

    Yields:
        The vector of each text: 256 dimensions, not normalized.
    """
    os.nice(_LOWEST_PRIORITY)
    import wordllama  # noqa: PLC0415 (in the child alone)

    # The wheel contains weights and tokenizer in the layout of wordllama's download cache.
    bundled = Path(wordllama.__file__).parent
    model = wordllama.WordLlama.load(cache_dir=bundled, disable_download=True)
    yield from model.embed(list(texts)).tolist()
