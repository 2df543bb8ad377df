"""What an operator is: one mistake that people make, as a generator of edits, with its examples.

    @operator(
        imitates="https://github.com/NVIDIA/warp/issues/147",
        channel="value",
        on=("backward",),
        equivalent="the operand is symmetric",
        examples=[("dx = g @ w.mT", "dx = g @ w")],
    )
    def drop_transpose(node: Node, scope: Scope) -> Edits:
        ...
        yield replace(node, "{0}", transposed)

It is called on every node of every function of its kinds. There is no list of operators: every file
in `operators/` is imported and what the decorator marked is collected.
"""

import importlib
import pkgutil
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, get_args

from bugzoo.errors import UserError
from bugzoo.model import CHANNELS
from bugzoo.mutation.edit import Edit
from bugzoo.mutation.scope import Kind, Scope

Node = Any  # any ast.AST: an operator is shown all of them and picks its own
Edits = Iterator[Edit]
Run = Callable[[Node, Scope], Edits]


@dataclass(frozen=True)
class Operator:
    """One kind of mistake.

    imitates    a real bug's address; 'taught' (in courses), or 'invented'
    channel     where the oracle is expected to see it
    on          the kinds of function in which it looks
    equivalent  the rule by which a mutant of it may be harmless
    examples    (before, after): a statement, a method or a class; after None: nothing to do there
    version     raised when the operator's mutants change
    """

    name: str
    run: Run
    imitates: str
    channel: str
    on: tuple[Kind, ...]
    equivalent: str
    examples: tuple[tuple[str, str | None], ...]
    version: int
    doc: str
    theme: str

    def __call__(self, node: Node, scope: Scope) -> Edits:
        return self.run(node, scope)


def operator(
    *,
    imitates: str,
    channel: str,
    on: Kind | tuple[Kind, ...],
    equivalent: str,
    examples: Iterable[tuple[str, str | None]],
    version: int = 1,
) -> Callable[[Run], Operator]:
    """Mark a generator `(node, scope) -> edits` as an operator; its name is the function's name."""
    kinds = (on,) if isinstance(on, str) else on
    for word, known in [(channel, tuple(CHANNELS)), *((k, get_args(Kind)) for k in kinds)]:
        if word not in known:
            raise UserError(f"@operator: unknown word '{word}'; expected one of {', '.join(known)}")

    def mark(run: Run) -> Operator:
        return Operator(
            name=run.__name__,
            run=run,
            imitates=imitates,
            channel=channel,
            on=kinds,
            equivalent=equivalent,
            examples=tuple(examples),
            version=version,
            doc=(run.__doc__ or "").strip(),
            theme=run.__module__.rpartition(".")[2],
        )

    return mark


@lru_cache(maxsize=1)
def collected() -> dict[str, Operator]:
    """All operators of the folder, in the order of their names."""
    from bugzoo.mutation import operators

    found: dict[str, Operator] = {}
    for info in pkgutil.iter_modules(operators.__path__):
        module = importlib.import_module(f"{operators.__name__}.{info.name}")
        for thing in vars(module).values():
            if isinstance(thing, Operator) and thing.theme == info.name:
                if thing.name in found:
                    raise UserError(f"operator '{thing.name}' is defined twice")
                found[thing.name] = thing
    return dict(sorted(found.items()))
