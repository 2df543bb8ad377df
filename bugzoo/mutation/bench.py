"""What all mutants of one specimen are held against, made once: textbook runs, regimes, time needed."""

import time
from collections.abc import Callable, Iterator
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from bugzoo import source
from bugzoo.loop import Loop
from bugzoo.model import Case, Context, Specimen
from bugzoo.mutation.regimes import regimes
from bugzoo.oracle import trajectory, value
from bugzoo.oracle.judge import OPERATION, _seed
from bugzoo.oracle.probe import Probe
from bugzoo.oracle.witness import Witness


class Bench:
    """A correct specimen, ready to have its mutants examined. `cases`: by default all but TRAINED."""

    def __init__(self, specimen: Specimen, cases: tuple[Case | Context, ...] = ()):
        self.specimen, self.truth = specimen, specimen.truth
        self.cases: tuple[Any, ...] = cases or specimen.truth.cases
        self.text = source.standalone(specimen.cls)
        self.right: Any = compiled(self.text)
        self._books: dict[tuple[str, int], list[list[Named]]] = {}

    def probe(self, cls: Any, case: Case, n: int) -> Probe:
        """The n-th probe of a case, with the oracle's own seed."""
        return Probe(cls.apply, self.truth, case, torch.Generator().manual_seed(self.seed(case, n)))

    def seed(self, case: Case | Context, n: int) -> int:
        return _seed(self.specimen.file, case.name, n)

    @cached_property
    def extra(self) -> list[Case]:
        """Regimes beyond the cases in which the right implementation is right."""
        if not self.cases or isinstance(self.cases[0], Context) or self.truth.reference is None:
            return []
        return [case for case in regimes(self.cases[0]) if self._right_in(case)]

    def _right_in(self, case: Case) -> bool:
        try:
            return not any(
                OPERATION[channel](self.probe(self.right, case, 0)).awake
                for channel in ("contract", "value", "side_effect")
            )
        except Exception:
            return False

    def loop(self, cls: Any, context: Context, n: int) -> Loop:
        gen = torch.Generator().manual_seed(self.seed(context, n))
        return cls(gen, **context.options)

    def trajectory(self, cls: Any, context: Context, n: int) -> Witness:
        """The oracle's trajectory channel, held against the recorded textbook run."""
        book: Any = Replay(self._book(context, n))
        return trajectory.examine(
            self.loop(cls, context, n), book, lambda _: book.advance(), context
        )

    def _book(self, context: Context, n: int) -> "list[list[Named]]":
        """The parameters of the textbook run after each step."""
        key = (context.name, n)
        if key not in self._books:
            reference: Callable[..., Any] | None = self.truth.reference
            assert reference is not None
            book = self.loop(self.right, context, n)
            states = []
            for _ in range(context.steps):
                reference(book, *next(book.batches))
                states.append([Named(model) for model in book.models])
            self._books[key] = states
        return self._books[key]

    @cached_property
    def seconds(self) -> float:
        """Processor time of one look at the right implementation, in each case."""
        start = time.process_time()
        for case in self.cases:
            if isinstance(case, Context):
                self.trajectory(self.right, case, 0)
            else:
                value.examine(self.probe(self.right, case, 0))
        return time.process_time() - start


class Named:
    """A copy of a model's parameters, by name."""

    def __init__(self, model: torch.nn.Module):
        self._named = [(name, p.detach().clone()) for name, p in model.named_parameters()]

    def named_parameters(self) -> list[tuple[str, Tensor]]:
        return self._named


class Replay:
    """A recorded run in the place of a loop."""

    def __init__(self, states: list[list[Named]]):
        self._states: Iterator[list[Named]] = iter(states)
        self.models: list[Named] = []

    def advance(self) -> None:
        """On to the parameters after the next step."""
        self.models = next(self._states)


def compiled(text: str) -> Any:
    """The class of a standalone text, made anew: nothing that an earlier one kept on its class."""
    return source.build.__wrapped__(text)
