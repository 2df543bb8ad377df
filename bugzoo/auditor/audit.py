"""audit(): one run observed, then the oracles; the cheap and exact ones first."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import torch

from bugzoo.auditor import books, cuts, graph, intent, resume, rows, scale, shared, slope, watched
from bugzoo.auditor.functions import Functions
from bugzoo.auditor.ledger import Ledger
from bugzoo.auditor.lifetime import Lifetime
from bugzoo.auditor.listener import Call, Listener, Stop
from bugzoo.auditor.program import Program, young
from bugzoo.auditor.seal import Seal
from bugzoo.auditor.session import Session
from bugzoo.errors import UserError, first_line, named
from bugzoo.finding import ORDER, Audit, Cost, Finding, Note
from bugzoo.watcher import names

STEPS = 4  # of each optimizer that are observed
MOST = 16  # of all of them together
NAMED = 4  # backward passes at which the user's variables are read


def audit(make_run: Callable[[], Any], *, seed: int = 0) -> Audit:
    """Examine the training that `make_run` sets up.

    `make_run()` builds model, data and optimizer afresh and returns a callable that trains for a
    few steps when it is called; one that does a single step a call, or an object with `.step()` or
    `.step(n)`, will do. It is built and run about eight times and stopped after a few steps each
    time. torch's, NumPy's and Python's global generators are seeded with `seed` before each time,
    and put back.

    Raises UserError when there is nothing to examine. Wrong gradients are findings, never raised.
    """
    began = time.perf_counter()
    program = Program(make_run, seed)
    with young():
        seen = _observe(program)
        found = _examined(program, seen, seed)
    result = Audit(seed=seed, steps=len(seen.steps))
    result.findings = [x for x in found if isinstance(x, Finding)]
    result.findings.sort(key=lambda f: ORDER.index(f.channel))
    result.notes = list(dict.fromkeys(x for x in found if isinstance(x, Note)))
    result.cost = Cost(
        program.forwards + seen.functions.forwards, program.backwards + seen.functions.backwards,
        time.perf_counter() - began,
    )  # fmt: skip
    return result


def _examined(program: Program, seen: _Observed, seed: int) -> list[Finding | Note]:
    """All that the oracles have to say, in the order in which they are asked."""
    gen = torch.Generator().manual_seed(seed)
    found: list[Finding | Note] = []
    found += seen.functions.examine(gen)
    found += seen.seal.findings()
    found += books.findings(seen.ledger, seen.names)
    found += seen.lifetime.findings()
    corrupt = any(isinstance(x, Finding) and x.channel == "side_effect" for x in found)
    found += _slopes(program, seen, corrupt)
    found += intent.notes(seen.ledger, seen.names)
    if program.by_hand or any(isinstance(x, Finding) for x in found):
        return found
    with rows.meeting() as met:
        found += watched.examine(program)
    found += scale.examine(program) if seen.scaled else []
    found += resume.examine(program)
    found += rows.examine(met)
    return found


class _Observed(Listener):
    """The listeners of the observed run, and when it has been seen for long enough."""

    def __init__(self, sealed: bool = True) -> None:
        self.sealed = sealed
        self.ledger, self.seal, self.lifetime = Ledger(), Seal(), Lifetime()
        self.functions = Functions()
        self.names: dict[int, str] = {}
        self.called: dict[int, str] = {}  # what the user calls models and tensors
        self.steps: list[int] = []
        self.calls = 0
        self.scaled = False  # by a GradScaler
        self.finished = False

    @property
    def all(self) -> list[Listener]:
        sealed = [self.seal] if self.sealed else []
        return [self, self.ledger, *sealed, self.lifetime, self.functions]

    def before_backward(self, call: Call) -> None:
        if call.own and call.number < NAMED:
            for key, name in names.seen().items():
                self.called.setdefault(key, name)
        if call.own and not call.inside_step and self.enough(self.session):
            call.nodes, call.outputs, call.leaves = [], (), []
            self.finish()
            raise Stop

    def enough(self, session: Session) -> bool:
        steps = session.steps
        if not steps:
            return False
        counts = [steps.count(n) for n in range(len(session.optimizers))]
        if session.by_hand or not counts:
            counts = [len(steps)]
        return len(steps) >= MOST or (
            max(counts) >= STEPS and (min(counts) >= 2 or len(steps) >= 3 * STEPS)
        )

    def finish(self) -> None:
        """To be called while the program's objects are all there."""
        if self.finished:
            return
        self.finished = True
        self.names, self.scaled = graph.held(self.called), scale.used()
        for key, a in self.ledger.accounts.items():
            if key not in self.names:
                a.name = (
                    self.called.get(key) or graph.variable_name(a.p) or graph.attribute_name(a.p)
                )
        self.lifetime.count()


def _observe(program: Program) -> _Observed:
    seen = _watch(program)
    if not seen.steps and seen.ledger.accounts:
        program.by_hand = True  # an optimizer may be there and do nothing
        again = _watch(program)
        if again.steps or again.ledger.read_by_user:
            return again
    if not seen.calls:
        raise UserError(
            "the run never calls backward() or autograd.grad(): there is no gradient to examine.\n"
            "Expected make_run() to return a callable that trains when it is called. Gradients that come "
            "from torch.func alone cannot be audited."
        )
    if not seen.steps:
        raise UserError(
            f"the run never steps: {seen.calls} backward passes, and no optimizer.step() and no write "
            "into a parameter after them.\nLet it train for a few steps."
        )
    return seen


def _watch(program: Program, sealed: bool = True) -> _Observed:
    """One run under observation, from its first step on."""
    seen = _Observed(sealed)
    session = Session(seen.all)

    def done(session: Session) -> bool:
        if seen.enough(session):
            seen.finish()
        return seen.finished

    try:
        run = program.play(session, done)
    except UserError:
        raise
    except Exception as error:
        if sealed and "saved tensor hooks" in first_line(error):
            return _watch(program, sealed=False)  # torch.func does without them
        raise UserError(f"the training raised {named(error)}") from error
    seen.finish()
    del run
    seen.steps, seen.calls = list(session.steps), len(session.calls)
    return seen


def period(steps: list[int]) -> int:
    """Steps of one iteration: the shortest pattern of optimizers that repeats."""
    for p in range(1, len(steps) // 2 + 1):
        if all(a == b for a, b in zip(steps, steps[p:], strict=False)):
            return p
    return 1


def _slopes(program: Program, seen: _Observed, corrupt: bool) -> list[Finding | Note]:
    if not seen.steps:
        return []
    if corrupt:
        return [Note("skipped", "the slope of the loss: mend the write in place first")]
    if shared.tied(seen.ledger):
        return [
            Note(
                "skipped",
                "the slope of the loss: parameters are the same memory, tied through .data",
            )
        ]
    length = period(seen.steps)
    stops = {graph.title(cls) for cls in seen.functions.surrogates | seen.functions.wrong}
    # The first iteration will do where optimizers know the parameters; else one must have been seen.
    starts = (length,) if program.by_hand or -1 in seen.steps else (0, length)
    try:
        for start in starts:
            slopes = slope.Slopes(program, start, length, stops)
            if slopes.record():
                break
        else:
            return [Note("skipped", f"the slope of the loss: {slopes.why}")]
        found = list(slope.examine(slopes))
        if not any(isinstance(x, Finding) for x in found):
            found += cuts.examine(slopes)
        return found
    except Exception as error:
        return [Note("skipped", f"the slope of the loss: {named(error)}")]
