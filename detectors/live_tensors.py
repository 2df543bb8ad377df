"""Live tensors and their bytes after every step, as the garbage collector sees them.

alarm where the median step leaves a tensor or a byte more than it found
"""

import gc
from statistics import median

import torch
from torch import Generator, Tensor

from bugzoo import Verdict, detector
from bugzoo.subject import Subject

WARM, STEPS = 4, 12


@detector(
    needs="training",
    claims="memory",
    cost="16 steps; a garbage collection and a walk over new objects after each",
    blind_to="graph nodes and tensors that only C++ holds; leaks that do not grow at most steps; "
    "every wrong number. A history of detached losses alarms",
    thresholds={"growth = 0": "exact", "steps = 4 + 12": "optimizer state and caches come first"},
)
def live_tensors(subject: Subject, gen: Generator) -> Verdict:
    run = subject.start(gen)
    for _ in range(WARM):
        run.advance()
    gc.freeze()  # what is there already, garbage included, need not be walked again
    try:
        counts, sizes = [], []
        for _ in range(STEPS + 1):
            run.advance()
            count, size = _census()
            counts.append(count)
            sizes.append(size)
    finally:
        gc.unfreeze()
    more = median(b - a for a, b in zip(counts, counts[1:]))
    larger = median(b - a for a, b in zip(sizes, sizes[1:]))
    because = f"{more:+g} tensors and {larger:+g} bytes a step, expected 0"
    return Verdict("alarm" if more > 0 or larger > 0 else "clear", max(more, larger), because)


def _census() -> tuple[int, int]:
    """Tensors alive, and the bytes of the memory that they share."""
    gc.collect()
    alive = [t for t in gc.get_objects() if issubclass(type(t), Tensor)]
    dense = [t.untyped_storage() for t in alive if t.layout == torch.strided]
    return len(alive), sum({s.data_ptr(): s.nbytes() for s in dense}.values())
