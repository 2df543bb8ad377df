"""The nodes of an autograd graph."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any


def nodes(roots: Iterable[Any]) -> Iterator[Any]:
    """`roots` (None is left out) and all nodes that they lead to, each once, in the same order each time."""
    todo = [n for n in roots if n is not None]
    seen: set[Any] = set()
    while todo:
        node = todo.pop()
        if node in seen:
            continue
        seen.add(node)
        yield node
        todo += [n for n, _ in node.next_functions if n is not None]
