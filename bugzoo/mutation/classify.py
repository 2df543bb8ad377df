"""What a mutant is, by the oracle: which channels see it in which cases, or that none does.

awake              a channel sees it in a case; it never raises
raises_sometimes   it raises in some of the cases; in others a channel may see it
raises_always      it raises in every case: stillborn
hangs              it did not end in time
convention         it differs at kinks alone, and is a subgradient there
masked_by_engine   backward returns something else, the engine delivers the same
equivalent         no probe tells it from the right one; how many were tried is said

Everything happens in this process. A mutant that loops for ever is ended by a timer.
"""

import warnings
from dataclasses import dataclass
from typing import Any, Literal

from bugzoo.model import Context, Specimen
from bugzoo.mutation import masked
from bugzoo.mutation.bench import Bench, compiled
from bugzoo.mutation.breed import Mutant
from bugzoo.mutation.deadline import Overdue, deadline
from bugzoo.mutation.kink import difference
from bugzoo.mutation.leak import passes, suspected
from bugzoo.oracle import contract, memory
from bugzoo.oracle.judge import OPERATION, SEEDS
from bugzoo.oracle.witness import Witness

Kind = Literal[
    "awake",
    "raises_sometimes",
    "raises_always",
    "hangs",
    "convention",
    "masked_by_engine",
    "equivalent",
]
# The other channels do not depend on the values drawn, and a run of a loop is many probes in itself.
PROBES = {"value": SEEDS, "second_order": SEEDS}
LIMIT = 2.0  # seconds of processor time, beside twenty times what the right implementation takes


@dataclass(frozen=True)
class Class:
    """The class of a mutant, with the witnesses that show it.

    awake: case -> channels that see it there; names with a plus sign are regimes beyond the cases.
    raises: cases in which plain use raises. probes: how many were tried, over all channels.
    """

    kind: Kind
    awake: dict[str, tuple[str, ...]]
    raises: tuple[str, ...]
    witnesses: tuple[tuple[str, Witness], ...]
    probes: int
    words: str = ""

    @property
    def silent(self) -> bool:
        """Is there a case in which it does not raise and is wrong?"""
        return bool(self.awake) and self.kind in ("awake", "raises_sometimes")


def classify(mutant: Mutant | str, specimen: Specimen | Bench) -> Class:
    """Examine a mutant, or its text, beside the specimen that it was bred from.

    With many mutants of one specimen, make its Bench once and hand that in.
    """
    bench = specimen if isinstance(specimen, Bench) else Bench(specimen)
    text = mutant if isinstance(mutant, str) else mutant.text
    look = _Look(bench, text)
    try:
        with deadline(LIMIT + 20 * bench.seconds), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return look.result()
    except Overdue as error:
        return Class("hangs", look.awake, tuple(look.raises), (), look.probes, str(error))


class _Look:
    """One mutant under examination."""

    def __init__(self, bench: Bench, text: str):
        self.bench, self.text = bench, text
        self.found: dict[str, list[Witness]] = {}
        self.raises: dict[str, Witness] = {}
        self.probes = 0

    @property
    def awake(self) -> dict[str, tuple[str, ...]]:
        return {case: tuple(w.channel for w in ws) for case, ws in self.found.items() if ws}

    def result(self) -> Class:
        """Ask every case; then, of one that is equal in all of them, the further regimes."""
        try:
            cls = compiled(self.text)
        except Exception as error:
            self.raises = {case.name: _raised(error) for case in self.bench.cases}
            return self._class("raises_always")
        for case in self.bench.cases:
            ask = self._training if isinstance(case, Context) else self._operation
            ask(cls, case)
        if len(self.raises) == len(self.bench.cases):
            return self._class("raises_always")
        if self.raises:
            return self._class("raises_sometimes")
        if not self.awake:
            for case in self.bench.extra:
                self._operation(cls, case, ("contract", "value", "side_effect"))
        if self.raises:
            return self._class("raises_sometimes")
        if self.awake:
            return self._class("convention" if self._at_kinks(cls) else "awake")
        words = self._masked(cls)
        return self._class("masked_by_engine" if words else "equivalent", words)

    def _operation(self, cls: Any, case: Any, channels: tuple[str, ...] = tuple(OPERATION)) -> None:
        """Ask the channels in the oracle's order; the first awake probe of each is its witness."""
        seen = self.found.setdefault(case.name, [])
        for channel in channels:
            if channel == "memory" and not self._leaks_elsewhere(case):
                continue
            for n in range(PROBES.get(channel, 1)):
                self.probes += 1
                try:
                    if channel == "memory" and not suspected(
                        passes(self.bench.probe(cls, case, n))
                    ):
                        continue
                    witness = OPERATION[channel](self.bench.probe(cls, case, n))
                except Exception as error:  # in the oracle's own use of it: a second backward, say
                    witness = Witness(
                        channel, True, "repeated", contract.words(error), float("inf")
                    )
                if witness.loud:
                    self.raises[case.name] = witness
                    return  # it raises in plain use: no other channel can be asked
                if witness.awake:
                    seen.append(witness)
                    break

    def _leaks_elsewhere(self, case: Any) -> bool:
        """Bytes are counted in the first case that does not raise, in the others where it leaks there."""
        first = next(name for name in self.found if name not in self.raises)
        return case.name == first or any(w.channel == "memory" for w in self.found[first])

    def _training(self, cls: Any, context: Context) -> None:
        seen = self.found.setdefault(context.name, [])
        try:
            self.probes += 1
            witness = self.bench.trajectory(cls, context, 0)
            seen += [witness] if witness.awake else []
            if self._leaks_elsewhere(context):
                self.probes += 1
                if suspected(self.bench.loop(cls, context, 0).advance):
                    witness = memory.examine_loop(self.bench.loop(cls, context, 0), context.steps)
                    seen += [witness] if witness.awake else []
        except Exception as error:
            self.raises[context.name] = _raised(error)

    def _at_kinks(self, cls: Any) -> bool:
        """Is every witness a subgradient where the function has a kink?"""
        if self.bench.truth.reference is None or self.bench.specimen.kind == "loop":
            return False
        cases = {case.name: case for case in (*self.bench.cases, *self.bench.extra)}
        for name, witnesses in self.found.items():
            for witness in witnesses:
                if witness.channel != "value" or witness.probe == "forward":
                    return False
                probes = (self.bench.probe(cls, cases[name], n) for n in range(PROBES["value"]))
                if "wrong" in map(difference, probes):
                    return False
        return True

    def _masked(self, cls: Any) -> str:
        """In what the returns of backward differ although the engine delivers the same."""
        for case in self.bench.cases:
            if not isinstance(case, Context):
                seed = self.bench.seed(case, 0)
                words = masked.differs(cls, self.bench.right, self.bench.truth, case, seed)
                if words:
                    return words
        return ""

    def _class(self, kind: Kind, words: str = "") -> Class:
        shown = [(case, w) for case, ws in self.found.items() for w in ws]
        shown += list(self.raises.items())
        return Class(
            kind,
            {case: channels for case, channels in self.awake.items() if case not in self.raises},
            tuple(self.raises),
            tuple(shown),
            self.probes,
            words or (shown[0][1].words if shown else f"equal on {self.probes} probes"),
        )


def _raised(error: Exception) -> Witness:
    return Witness("contract", True, "as it is", contract.words(error), float("inf"), loud=True)
