"""LIFETIME: the graph of a step goes when the step is over.

A sentinel lives in the metadata of each node and dies with it. That the last graph is kept, or one
that was made once, is nobody's loss: a finding only if all earlier steps survive.
"""

from __future__ import annotations

import gc
import weakref
from collections import Counter
from collections.abc import Iterator
from typing import Any

from torch import Tensor

from bugzoo.auditor import graph
from bugzoo.auditor.listener import Call, Listener
from bugzoo.finding import Finding
from bugzoo.watcher.lifetime import ASKED, who

MADE = "bugzoo made"
NODES = 3000  # of one graph, at most


class _Sentinel:
    __slots__ = ("__weakref__",)


class Lifetime(Listener):
    """`alive` after the run: for each step whose nodes carry sentinels, the names of those left."""

    def __init__(self) -> None:
        self.marks: dict[int, list[tuple[str, weakref.ref[_Sentinel]]]] = {}
        self.lines: dict[int, str] = {}
        self.made: dict[int, list[tuple[str, weakref.ref[_Sentinel], str]]] = {}  # and the lines
        self.alive: dict[int, Counter[str]] = {}
        self.kept: dict[int, Counter[str]] = {}  # the same of what was never sent backward
        self.holders = ""

    def before_backward(self, call: Call) -> None:
        if not call.own or call.inside_step:
            return
        step = call.after
        marks = self.marks.setdefault(step, [])
        self.lines.setdefault(step, call.line)
        for n in call.nodes[:NODES]:
            if hasattr(n, "variable") or "bugzoo life" in n.metadata:
                continue
            n.metadata.pop(MADE, None)  # it is sent backward after all
            mark = _Sentinel()
            n.metadata["bugzoo life"] = mark
            marks.append((n.name(), weakref.ref(mark)))

    def before_op(self, name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """What is computed on and never sent backward, as a running mean of parameters is."""
        step = -1
        for t in args:
            if not isinstance(t, Tensor) or not t.requires_grad or t._is_view():
                continue  # to ask a view for its node may raise
            node: Any = t.grad_fn
            if node is None or MADE in node.metadata or "bugzoo life" in node.metadata:
                continue
            if step < 0:
                step = len(self.session.steps)
            mark = node.metadata[MADE] = _Sentinel()
            self.made.setdefault(step, []).append((node.name(), weakref.ref(mark), graph.line()))

    def count(self) -> None:
        """To be called while the program's objects are still there."""
        gc.collect()
        for step, marks in self.marks.items():
            self.alive[step] = Counter(name for name, ref in marks if ref() is not None)
        for step, made in self.made.items():
            left = [(name, line) for name, ref, line in made if ref() is not None]
            self.kept[step] = Counter(name for name, _ in left)
            self.lines.setdefault(step, left[0][1] if left else "")
        if self._leaks() or self._piles():
            self.holders = _holders()

    def _leaks(self) -> bool:
        earlier = sorted(self.alive)[:-1]  # the last graph may still be needed
        return len(earlier) >= 3 and all(self.alive[s] for s in earlier)

    def _piles(self) -> bool:
        """The same of what was never sent backward; the first step may come before it begins."""
        earlier = sorted(self.kept)[1:-1]
        return len(earlier) >= 3 and all(self.kept[s] for s in earlier)

    def findings(self) -> Iterator[Finding]:
        leaks = self._leaks()
        if not leaks and not self._piles():
            return
        alive = self.alive if leaks else self.kept
        earlier = sorted(alive)[not leaks : -1]
        names = alive[earlier[-1]]
        listed = ", ".join(f"{n} {name}" for name, n in names.most_common(3))
        yield Finding(
            "memory", f"the graphs of all {len(earlier)} earlier steps are still alive",
            f"{sum(names.values())} nodes of step {earlier[-1] + 1}: {listed}",
            float(sum(sum(c.values()) for c in alive.values())), 0.0, step=earlier[0] + 1,
            line=self.lines[earlier[0]],
            cause=(f"held by {self.holders}; " if self.holders else "")
            + "keep loss.item() or .detach(), never the tensor",
        )  # fmt: skip


def _holders() -> str:
    """Which list, dictionary or object of the user's holds most of the tensors with a marked graph."""
    found = []
    for t in gc.get_objects():
        if issubclass(type(t), Tensor) and t.requires_grad and t.grad_fn is not None:
            metadata: Any = t.grad_fn.metadata
            if "bugzoo life" in metadata or MADE in metadata:
                found.append(t)
    del found[ASKED:]
    words = [who(t, found) for t in found]
    return max(filter(None, words), key=words.count, default="")
