"""Work on the catalog, spread over processes that each hold one of their own."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from bugzoo.catalog import Catalog

T = TypeVar("T")
_CATALOG: list[Catalog] = []  # a worker's own


def spread(
    work: Callable[..., T], items: Sequence[Any], jobs: int, chunk: int = 1
) -> Iterator[tuple[int, T]]:
    """(position of the item, `work(catalog, item)`) of every item, as they are done.

    `work` is a function of a module, or a partial of one; what it returns can be pickled.
    """
    processes = max(1, min(jobs, len(items)))
    with multiprocessing.get_context("spawn").Pool(processes, _ready) as pool:
        yield from pool.imap_unordered(partial(_do, work), enumerate(items), chunk)


def _ready() -> None:
    import torch

    from bugzoo import catalog

    torch.set_num_threads(1)
    _CATALOG.append(catalog.load())


def _do(work: Callable[..., T], numbered: tuple[int, Any]) -> tuple[int, T]:
    number, item = numbered
    return number, work(_CATALOG[0], item)
