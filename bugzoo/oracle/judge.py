"""Asks every channel about one specimen in one case, on several seeds, and sums up.

The specimen is rebuilt from its standalone text, as detectors get it: ground truth is about the
very code that they see.
"""

import hashlib
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Any

import torch

from bugzoo import source
from bugzoo.loop import Loop
from bugzoo.model import CHANNELS, MARK, Case, Context, Specimen, Truth
from bugzoo.oracle import contract, memory, reentrancy, second_order, side_effect, trajectory, value
from bugzoo.oracle.probe import Probe
from bugzoo.oracle.witness import Witness
from bugzoo.seats import Seated

SEEDS = 3
OPERATION: dict[str, Callable[[Probe], Witness]] = {
    "contract": contract.examine,
    "value": value.examine,
    "side_effect": side_effect.examine,
    "reentrancy": reentrancy.examine,
    "second_order": second_order.examine,
    "memory": memory.examine,
}


@dataclass(frozen=True)
class Finding:
    """The truth about one specimen in one case: a witness for each channel, the awake ones first.

    `probes`: how many seeds were tried. Equal means equal on that many probes.
    """

    specimen: str
    case: str
    witnesses: tuple[Witness, ...]
    probes: int

    @property
    def awake(self) -> tuple[str, ...]:
        return tuple(w.channel for w in self.witnesses if w.awake)

    @property
    def loud(self) -> bool:
        return any(w.loud for w in self.witnesses)

    def witness(self, channel: str) -> Witness | None:
        return next((w for w in self.witnesses if w.channel == channel), None)


def judge(
    specimen: Specimen,
    case: Case | Context,
    seeds: int = SEEDS,
    channels: Collection[str] = tuple(CHANNELS),
) -> Finding:
    """Examine those of the channels that apply; of several seeds the most awake witness is kept.

    Plain use is always tried: where it raises, no other channel can be asked.
    """
    examine = _training if isinstance(case, Context) else _operation
    best: dict[str, Witness] = {}
    for seed in range(seeds):
        for witness in examine(specimen, case, _seed(specimen.file, case.name, seed), channels):
            known = best.get(witness.channel)
            if known is None or (witness.awake, witness.error) > (known.awake, known.error):
                best[witness.channel] = witness
    ordered = sorted(best.values(), key=lambda w: not w.awake)
    return Finding(specimen.id, case.name, tuple(ordered), seeds)


def _operation(
    specimen: Specimen, case: Any, seed: int, channels: Collection[str]
) -> list[Witness]:
    op = source.neutral(specimen.cls).apply  # type: ignore[attr-defined]
    found = []
    for channel, examine in OPERATION.items():
        if channel not in channels and channel != "contract":
            continue
        if channel == "memory" and seed % SEEDS:
            continue  # counting bytes does not depend on the values drawn
        gen = torch.Generator().manual_seed(seed)
        try:
            witness = examine(Probe(op, specimen.truth, case, gen))
        except Exception as error:  # in the oracle's own use of it: a second backward, say
            witness = Witness(channel, True, "repeated", contract.words(error), float("inf"))
        found.append(witness)
        if witness.loud:
            break  # it raises in plain use: no other channel can be asked
    return found


def _training(specimen: Specimen, case: Any, seed: int, channels: Collection[str]) -> list[Witness]:
    cls: Any = source.neutral(specimen.cls)
    truth = specimen.truth
    reference, seat = truth.reference, truth.seat
    assert reference is not None, f"{specimen.id} has no reference to train beside"

    def build(kind: Any, op: Any) -> Loop:
        gen = torch.Generator().manual_seed(seed)
        if specimen.kind == "loop":
            return kind(gen, **case.options)
        assert seat is not None
        return Seated(gen, op=op, seat=seat, **case.options)

    def ours() -> Loop:
        return build(cls, getattr(cls, "apply", None))

    def book() -> Loop:
        """Built by the correct class: a twin may build the wrong thing already."""
        return build(source.neutral(_right(specimen.cls)), reference)

    def textbook(loop: Loop) -> object:
        """A loop's reference is its textbook step; an operation's is the same loop with another op."""
        return reference(loop, *next(loop.batches)) if specimen.kind == "loop" else loop.advance()

    try:
        path = trajectory.examine(ours(), book(), textbook, case)
        if seed % SEEDS or "memory" not in channels:
            return [path]
        return [path, memory.examine_loop(ours(), case.steps)]
    except Exception as error:
        said = contract.words(error)
        return [Witness("contract", True, "training run", said, float("inf"), loud=True)]


def _right(cls: type) -> type:
    """The class marked @correct or @control that `cls` is or derives from."""
    return next((c for c in cls.__mro__ if isinstance(vars(c).get(MARK), Truth)), cls)


def _seed(file: str, case: str, seed: int) -> int:
    """A seed of the oracle's own, the same for both twins, never a detector's."""
    digest = hashlib.sha256(f"oracle {file} {case}".encode()).digest()
    return int.from_bytes(digest[:6], "big") * SEEDS + seed
