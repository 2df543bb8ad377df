"""The program under audit: built afresh for each run, seeded, driven, and stopped after a few steps."""

from __future__ import annotations

import gc
import inspect
import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch

from bugzoo.auditor.listener import Stop
from bugzoo.auditor.session import Session
from bugzoo.errors import UserError

CALLS = 24  # of a callable that does one step each, at most


class Program:
    """`make_run` and what running it has cost."""

    def __init__(self, make_run: Callable[[], Any], seed: int):
        if not callable(make_run):
            raise UserError(
                f"make_run: got {type(make_run).__name__}; expected a function that builds model, "
                "data and optimizer afresh and returns a callable that trains."
            )
        self.make_run, self.seed = make_run, seed
        self.by_hand = False  # its steps are writes into parameters
        self.saves = False  # it says how it is saved and loaded
        self.numbered = False  # its steps are told their number, and find their data by it
        self.builds = self.forwards = self.backwards = 0

    def play(self, session: Session, done: Callable[[Session], bool], wide: bool = False) -> Any:
        """Build and train until `done` says so after a call, or a listener raises Stop. Returns the run.

        `wide`: floating tensors are made in float64 where the program does not say otherwise.
        """
        self.builds += 1
        run = None
        session.by_hand = self.by_hand
        with seeded(self.seed, wide), session:
            try:
                run, step = self.build()
                for n in range(CALLS):
                    before = len(session.steps), len(session.calls)
                    step(n)
                    if done(session) or before == (len(session.steps), len(session.calls)):
                        break
                    if len(session.steps) - before[0] > 1 and self._whole(session, before[0]):
                        break
            except Stop:
                pass
            finally:
                self.backwards += session.backwards
                self.forwards += len([c for c in session.calls if c.own])
        return run

    def drive(self, count: Callable[[], int]) -> None:
        """Build and train, nothing patched, until Stop is raised or a call no longer raises `count`."""
        try:
            _, step = self.build()
            for n in range(CALLS):
                before = count()
                step(n)
                if count() == before:
                    return
        except Stop:
            pass

    @staticmethod
    def _whole(session: Session, before: int) -> bool:
        """The call trained several steps: it is not asked for more."""
        steps = session.steps[before:]
        return max(steps.count(n) for n in set(steps)) >= 4

    def build(self) -> tuple[Any, Callable[[int], Any]]:
        """The run, and what does its next call, given the number of the call."""
        run = self.make_run()
        self.saves = all(callable(getattr(run, m, None)) for m in ("state_dict", "load_state_dict"))
        if callable(run):
            return run, lambda n: run()
        if callable(getattr(run, "step", None)):
            self.numbered = numbered = _takes_argument(run.step)
            return run, lambda n: run.step(n) if numbered else run.step()
        raise UserError(
            f"make_run returned {type(run).__name__}: nothing callable.\n"
            "Expected a function that trains for a few steps, or an object with .step()."
        )


def _takes_argument(step: Callable[..., Any]) -> bool:
    try:
        parameters = inspect.signature(step).parameters.values()
    except (TypeError, ValueError):
        return False
    return any(p.default is p.empty and p.kind is not p.VAR_KEYWORD for p in parameters)


@contextmanager
def young() -> Iterator[None]:
    """For the block the garbage collector, and a search of its objects, leave out what exists already."""
    ours = gc.get_freeze_count() == 0
    if ours:
        gc.collect(0)
        gc.freeze()
    try:
        yield
    finally:
        if ours:
            gc.unfreeze()


@contextmanager
def seeded(seed: int, wide: bool = False) -> Iterator[None]:
    """The global generators seeded for the block, then put back; so is torch's default dtype."""
    before = torch.get_rng_state(), random.getstate(), torch.get_default_dtype()
    numpy = _numpy()
    numpy_state = numpy.random.get_state() if numpy else None
    torch.default_generator.manual_seed(seed)
    random.seed(seed)
    if numpy:
        numpy.random.seed(seed % 2**32)
    if wide:
        torch.set_default_dtype(torch.float64)
    grad = torch.is_grad_enabled()
    try:
        with torch.enable_grad():
            yield
    finally:
        torch.set_grad_enabled(grad)
        torch.set_rng_state(before[0])
        random.setstate(before[1])
        torch.set_default_dtype(before[2])
        if numpy:
            numpy.random.set_state(numpy_state)


def _numpy() -> Any:
    try:
        import numpy
    except ImportError:
        return None
    return numpy
