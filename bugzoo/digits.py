"""The 8x8 handwritten digits that scikit-learn ships: 1,797 images, ten classes. Nothing is downloaded."""

from collections.abc import Iterator
from functools import lru_cache

import torch
from torch import Generator, Tensor

MEAN, STD = 4.884164579855314, 6.016813706967989  # of all pixels, which are 0..16


@lru_cache(maxsize=1)
def load() -> tuple[Tensor, Tensor]:
    """Images (1797, 64) in float64, standardised as one block, and classes (1797,) in int64."""
    from sklearn.datasets import load_digits

    data = load_digits()
    x = torch.from_numpy(data.data).to(torch.float64)
    return (x - MEAN) / STD, torch.from_numpy(data.target).to(torch.int64)


def grey_levels(x: Tensor) -> Tensor:
    """The pixels behind standardised images, as integers 0..16 in the shape of `x`."""
    return (x * STD + MEAN).round().to(torch.int64)


def batches(
    gen: Generator, size: int, dtype: torch.dtype = torch.float64
) -> Iterator[tuple[Tensor, Tensor]]:
    """Random batches for ever: x (size, 64) in `dtype`, y (size,) in int64."""
    x, y = load()
    while True:
        rows = torch.randint(len(x), (size,), generator=gen)
        yield x[rows].to(dtype), y[rows]
