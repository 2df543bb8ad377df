"""A learner's check, tried on one program: torch alone, so that it may run in a sandbox."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from bugzoo.learn.measure import outputs, words


class Counted:
    """A bare callable: counts passes, and remembers the cotangents and shapes that a check used."""

    __slots__ = ("_run", "backwards", "forwards", "plain", "shapes")

    def __init__(self, run: Callable[..., Any]):
        self._run = run
        self.forwards = self.backwards = 0
        self.plain = True  # all cotangents so far were ones
        self.shapes: set[str] = set()

    def __call__(self, *inputs: Any) -> Any:
        self.forwards += 1
        self.shapes |= {"x".join(map(str, x.shape)) for x in inputs if isinstance(x, Tensor)}
        out = self._run(*inputs)
        for y in outputs(out)[:1]:
            y.register_hook(self._seen)
        return out

    def _seen(self, g: Tensor) -> None:
        self.backwards += 1
        if g.numel() and not bool((g == 1).all()):
            self.plain = False


def attempt(
    check: Callable[..., Any], text: str, drawn: list[tuple[Any, Any]], seed: int
) -> tuple[Counted, bool, str]:
    """The passes used; whether the check is content; what it raised on the way, if not an assertion."""
    cls = built(text)
    counted = Counted(lambda *x: None)
    for inputs, extras in drawn:

        def run(*x: Any, held: Any = cls, more: Any = extras) -> Any:
            return held.apply(*x, *more)

        counted._run = run
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed % 2**31)
            try:
                answer = check(counted, inputs)
                fine = None if answer is None else bool(answer)
            except AssertionError:
                return counted, False, ""
            except Exception as error:
                return counted, False, words(error)
        if fine is None:
            said = "check returned None: return True (looks right) or False (wrong)"
            return counted, False, said
        if not fine:
            return counted, False, ""
    return counted, True, ""


def built(text: str) -> Any:
    """The class of a text, made anew, where `inspect.getsource` finds nothing."""
    space: dict[str, Any] = {"__name__": "subject"}
    exec(compile(text, "<subject>", "exec"), space)
    return space["Subject"]
