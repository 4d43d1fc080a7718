"""Embeds texts offline in a child process, so that the model does not use the worker's own memory."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from importlib.util import find_spec
from itertools import chain
from pathlib import Path

from worker.pipeline.embeddings import DECIMALS

_LOWEST_PRIORITY = 19
_FRAME_TEXTS = 100
"""Texts whose vectors are sent together."""


def embed_offline(texts: Sequence[str]) -> Iterator[list[list[float] | None]]:
    """Embed texts with the model in the wheel of `wordllama`, at the lowest CPU priority.

    The vectors are those of `WordLlama.embed`. It is not imported, because that takes as long as embedding a thousand
    texts. Each word is split into tokens once, as no token of the model reaches from one word into the next.

    Args:
        texts: Texts; any white space between two words counts as one space.

    Yields:
        For some texts, in order, the vector of each: 256 dimensions, with length 1. None: the text has no known tokens.
    """
    os.nice(_LOWEST_PRIORITY)
    # The words of some texts are few. Threads at the lowest priority would use more CPU time to wait for each other.
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    # In the child alone.
    import numpy as np  # noqa: PLC0415
    from safetensors import safe_open  # noqa: PLC0415
    from tokenizers import Tokenizer  # noqa: PLC0415

    spec = find_spec("wordllama")
    assert spec is not None
    assert spec.origin is not None
    wheel = Path(spec.origin).parent
    tokenizer = Tokenizer.from_file(str(wheel / "tokenizers" / "l2_supercat_tokenizer_config.json"))
    tokenizer.no_padding()
    with safe_open(wheel / "weights" / "l2_supercat_256.safetensors", framework="np") as weights:
        vectors = weights.get_tensor("embedding.weight").astype(np.float32)

    tokens: dict[str, list[int]] = {}
    for start in range(0, len(texts), _FRAME_TEXTS):
        split = [text.split() for text in texts[start : start + _FRAME_TEXTS]]
        unknown = [word for word in {*chain.from_iterable(split)} if word not in tokens]
        encoded = tokenizer.encode_batch(unknown, add_special_tokens=False)
        tokens.update(zip(unknown, (each.ids for each in encoded), strict=True))
        sums = (vectors[[token for word in words for token in tokens[word]]].sum(axis=0) for words in split)
        frame: list[list[float] | None] = []
        for sum_of_text in sums:
            length = float(np.linalg.norm(sum_of_text))
            frame.append((sum_of_text / length).astype(float).round(DECIMALS).tolist() if length else None)
        yield frame
