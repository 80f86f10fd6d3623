"""Texts of many calls as indices."""

import json
from typing import Any

import numpy as np

from optimizer.simulate.caps import Ints


class Names:
    """Texts of calls as indices, gathered batch by batch; "" is -1."""

    def __init__(self) -> None:
        self._places: dict[str, int] = {}
        self._parts: list[Ints] = []

    @property
    def is_read(self) -> bool:
        """Whether any batch came with texts."""
        return bool(self._parts)

    def add(self, texts: Any) -> None:
        """Take in an Arrow array of texts."""
        encoded = texts.dictionary_encode()
        places = [
            -1 if text == "" else self._places.setdefault(text, len(self._places))
            for text in encoded.dictionary.to_pylist()
        ]
        self._parts.append(np.array(places, dtype=np.int64)[encoded.indices.to_numpy(zero_copy_only=False)])

    def of_calls(self, order: Ints) -> Ints:
        """Return the index of each call's text, the calls in an order."""
        return np.concatenate(self._parts)[order] if self._parts else np.empty(0, dtype=np.int64)

    def read(self) -> tuple[dict[str, str], ...]:
        """Return the texts, objects of JSON, in the order of their indices."""
        return tuple(json.loads(text) for text in self._places)
