"""Which graphs outlive their step? A token in the metadata of a node lives exactly as long as the node.

    kept(n) = number of earlier steps whose token is still alive at step n

A correct run keeps 0, or a few for a while; a leak keeps all of them. Tokens need no memory counter
and no hook on saved tensors, which would switch off autograd's own check of them.
"""

from __future__ import annotations

import gc
import sys
import types
import weakref
from collections import deque
from typing import Any

import torch
from torch import Tensor

from bugzoo.watcher import names

MARK = "bugzoo.token"  # in the nodes of module outputs, each step
MADE = "bugzoo.made"  # in all that the user makes, on the steps that are looked at closely
LINE = "bugzoo.line"  # where it was made
MANY = 10_000  # nodes after which the count stops
ASKED = 4  # tensors whose holder is looked for: each costs a search of everything
LEAST = 4  # steps in a row of which every graph must be alive, from the first one on
SPAN = 6  # steps that what was made on closely watched steps must have lived
LATER = 12  # the same for a growth that begins later: a window of graphs fills up first


class Token:
    """Held by nodes alone."""

    __slots__ = ("__weakref__", "step")

    def __init__(self, step: int):
        self.step = step


class Lifetime:
    def __init__(self, mark: str = MARK) -> None:
        self.key = mark
        self.alive: dict[int, weakref.ref[Token]] = {}  # step -> its token
        self.freed = 0  # steps whose graph is gone
        self.marked: deque[int] = deque(maxlen=64)  # steps that have a token
        self._now = 0
        self._token: Token | None = None  # of the step under way; nodes take it over

    def mark(self, node: Any, step: int) -> None:
        """The node belongs to this step."""
        if self._token is None or self._token.step != step:
            self._token = Token(step)
            self.alive[step] = weakref.ref(self._token)
            self.marked.append(step)
        node.metadata[self.key] = self._token

    def count(self, step: int) -> int:
        """Earlier steps whose graph is alive, once this step is over; the token is let go."""
        self._token, self._now = None, step
        gone = [s for s, ref in self.alive.items() if ref() is None]
        for s in gone:
            del self.alive[s]
        self.freed += len(gone)
        return sum(s < step for s in self.alive)

    def growing(self, step: int) -> int:
        """The step from which on no graph is freed, 0 where they are."""
        if self.count(step) < LEAST - 1:
            return 0
        kept = 0
        first = step
        for s in reversed(self.marked):
            if s >= step:
                continue
            if s not in self.alive:
                break
            kept, first = kept + 1, s
        if self.key == MADE:
            return first if kept >= LEAST - 1 and step - first >= SPAN else 0
        return first if kept >= (LATER if self.freed else LEAST) else 0

    def holder(self) -> tuple[str, int, int, str]:
        """Who keeps the graphs: (words, bytes of tensors that they keep, nodes, the line that made one).

        Looks once through everything that the garbage collector tracks.
        """
        found: list[Tensor] = []
        for thing in gc.get_objects():
            if type(thing) is Tensor and thing.grad_fn is not None and self._ours(thing.grad_fn):
                found.append(thing)
        sizes = {(t.data_ptr(), t.numel() * t.element_size()) for t in found}
        nodes: set[Any] = set()
        for t in found:
            sizes |= _saved(t.grad_fn, nodes)
        words = line = ""
        for n in range(min(ASKED, len(found))):
            words = words or names.variable(found[n]) or who(found[n], found)
        for t in found[:ASKED]:
            line = line or _line(t.grad_fn)
        return words, sum(size for _, size in sizes), len(nodes), line

    def _ours(self, node: Any) -> bool:
        """Does this node, or one not far above it, bear a token of an earlier step?"""
        seen, near = {node}, [node]
        while near and len(seen) < 64:
            node = near.pop()
            token = node.metadata.get(self.key)
            if token is not None and token.step < self._now:
                return True
            for above, _ in node.next_functions:
                if above is not None and above not in seen:
                    seen.add(above)
                    near.append(above)
        return False


def _line(node: Any) -> str:
    """Where the newest node with a known line was made, from this one on up."""
    seen, near = {node}, deque([node])
    while near and len(seen) < 256:
        node = near.popleft()
        if LINE in node.metadata:
            return str(node.metadata[LINE])
        for above, _ in node.next_functions:
            if above is not None and above not in seen:
                seen.add(above)
                near.append(above)
    return ""


def _saved(node: Any, seen: set[Any]) -> set[tuple[int, int]]:
    """(address, bytes) of what this node and those above it still save; they are added to `seen`."""
    sizes: set[tuple[int, int]] = set()
    near = [] if node in seen else [node]
    seen.add(node)
    while near and len(seen) < MANY:
        node = near.pop()
        for name in dir(node):
            if name.startswith("_saved_"):
                try:
                    t = getattr(node, name)
                except RuntimeError:  # freed by a backward
                    continue
                if isinstance(t, Tensor) and not t.is_leaf:
                    sizes.add((t.data_ptr(), t.numel() * t.element_size()))
        for above, _ in node.next_functions:
            if above is not None and above not in seen:
                seen.add(above)
                near.append(above)
    return sizes


def who(t: Tensor, ours: list[Tensor]) -> str:
    """'the list in Trainer.losses', as far as referrers tell."""
    for holder in gc.get_referrers(t):
        if holder is ours or isinstance(holder, types.FrameType) or holder is sys._getframe():
            continue
        if isinstance(holder, list | tuple | set) or type(holder).__name__ == "deque":
            outer = _attribute(holder) or _listed(holder) or names.variable(holder)
            kind = type(holder).__name__
            return f"a {kind} of {len(holder)}" + (f", {outer}" if outer else "")
        if isinstance(holder, dict):
            name = _key(holder, t)
            owner = _owner(holder)
            if name is not None:
                return f"'{name}'" + (f" of {owner}" if owner else "")
        if isinstance(holder, types.CellType):
            return "a variable that an inner function uses"
        name = _key(getattr(holder, "__dict__", {}), t)
        if name is not None:
            return f"'{name}' of a {type(holder).__name__}"
    return ""


def _listed(row: Any) -> str:
    """A row of a list that has a name: 'in 'history' of a Trainer'."""
    for outer in gc.get_referrers(row) if isinstance(row, tuple) else ():
        if isinstance(outer, list) and (name := _attribute(outer) or names.variable(outer)):
            return f"in {name}"
    return ""


def _attribute(container: Any) -> str:
    """The name under which an object or a module holds this container."""
    for holder in gc.get_referrers(container):
        if isinstance(holder, dict):
            name = _key(holder, container)
            owner = _owner(holder)
            if isinstance(name, str) and not name.startswith("__"):
                return f"'{name}'" + (f" of {owner}" if owner else "")
    return ""


def _key(namespace: dict[Any, Any], thing: Any) -> Any:
    """Under which key it is there. A plain loop: a generator would hold the thing in a cell."""
    for key, value in namespace.items():
        if value is thing:
            return key
    return None


def _owner(namespace: dict[Any, Any]) -> str:
    """Whose __dict__ is this? A module's name or an object's class."""
    if "__name__" in namespace and "__builtins__" in namespace:
        return f"module {namespace['__name__']}"
    for holder in gc.get_referrers(namespace):
        if getattr(holder, "__dict__", None) is namespace:
            return f"a {type(holder).__name__}"
    return ""


def first_node(output: Any) -> Any:
    """The node of the first tensor among outputs that has one."""
    if isinstance(output, Tensor):
        return output.grad_fn
    parts = output.values() if isinstance(output, dict) else output
    if isinstance(parts, torch.Size) or not isinstance(parts, list | tuple | type({}.values())):
        return None
    return next((node for part in parts if (node := first_node(part)) is not None), None)
