"""Do the parameters of a training loop follow the textbook step? In float64, step by step.

The reference of a loop is a function `(loop, x, y) -> loss` that does the step by `autograd.grad`
on the whole batch: nothing is accumulated, scaled or kept.
"""

import math
from collections.abc import Callable

from bugzoo.loop import Loop
from bugzoo.model import Context
from bugzoo.oracle.witness import Witness


def examine(loop: Loop, book: Loop, advance: Callable[[Loop], object], context: Context) -> Witness:
    """Run `loop`, and `book` by `advance`; report the first step at which their parameters part.

    Both were built from the same seed. `advance` is the textbook: its step needs no trust in ours.
    """
    furthest = 0.0
    for step in range(context.steps):
        loop.advance()
        advance(book)
        for m, (ours, theirs) in enumerate(zip(loop.models, book.models, strict=True)):
            named = dict(theirs.named_parameters())
            # of all parameters: one on which the loss does not depend at all holds only rounding
            size = max((q.detach().abs().max().item() for q in named.values()), default=0.0)
            for name, p in ours.named_parameters():
                gap = (p.detach() - named[name].detach()).abs().max().item()
                error = gap / size if size > 0 else 0.0
                if not math.isfinite(gap):
                    error = math.inf
                if error > context.rtol:
                    worst = int((p.detach() - named[name].detach()).abs().argmax())
                    words = (
                        f"step {step + 1}: {'' if m == 0 else f'model {m} '}{name}[{worst}] is "
                        f"{p.detach().reshape(-1)[worst].item():.6g}, textbook "
                        f"{named[name].detach().reshape(-1)[worst].item():.6g}"
                    )
                    return _witness(True, context, words, error)
                furthest = max(furthest, error)
    return _witness(False, context, f"equal over {context.steps} steps", furthest)


def _witness(awake: bool, context: Context, words: str, error: float) -> Witness:
    return Witness(
        "trajectory", awake, f"{context.steps} steps", words, error, reference="the textbook step"
    )
