"""The inputs that show bugs, derived from the inputs that are given.

Whoever writes an example writes a generic one: square or tall, no zeros, no ties, contiguous. Here
the same example becomes the batch of one, the odd size, the row of zeros, the repeated index, the
transposed view. What the forward does not accept is left out by the caller, never blamed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from torch import Generator

from bugzoo.checkup import arguments, sizes, values
from bugzoo.checkup.literals import constants, words
from bugzoo.checkup.target import Target
from bugzoo.checkup.variation import Variation


def derive(
    target: Target, inputs: tuple[Any, ...], gen: Generator, given: tuple[Any, ...] = ()
) -> Iterator[Variation]:
    """All variations of `inputs`, the most telling first. Lazy: the caller stops when time is up.

    `inputs` may be `given` made smaller: integers are varied at both sizes where the latter is small.
    """
    literals = constants(target.fn)
    makers: list[Callable[[], Iterator[Variation]]] = [
        lambda: values.special_values(target, inputs, literals),
        lambda: sizes.other_sizes(target, inputs, gen, literals),
        lambda: arguments.layouts(inputs),
        lambda: values.magnitudes(inputs),
        lambda: arguments.indices(inputs),
        lambda: arguments.numbers(target, inputs, words(target.fn)),
        lambda: arguments.integers(inputs, given),
        lambda: sizes.other_ranks(target, inputs, gen),
        lambda: arguments.broadcast(target, inputs),
        lambda: arguments.aliases(inputs),
        lambda: sizes.large_sizes(target, inputs, gen),
    ]
    # By themselves: the mode stays while one is examined.
    yield from arguments.modes(target, inputs)
    turns = [make() for make in makers]
    while turns:
        for turn in list(turns):
            v = next(turn, None)
            if v is None:
                turns.remove(turn)
            else:
                yield v
