"""The magnitude knob: a gradient times 1 + d. The smallest d that a detector sees is its resolution."""

import dataclasses

from bugzoo.mutation.edit import replace
from bugzoo.mutation.operator import Edits, Node, Operator, operator
from bugzoo.mutation.scope import Scope


def factor(d: float) -> Operator:
    """The operator that multiplies one returned gradient by 1 + d."""

    @operator(
        imitates="invented",
        channel="value",
        on=("backward",),
        equivalent="the gradient is zero, or d is below the precision of the dtype",
        examples=[("return g * y", f"return {1 + d!r} * (g * y)"), ("return None", None)],
    )
    def run(node: Node, scope: Scope) -> Edits:
        """Every element is wrong by the same small relative error."""
        if node in scope.results:
            yield replace(node, f"{1 + d!r} * {{0}}", node)

    return dataclasses.replace(run, name=f"factor({d:g})")


slightly_large = factor(0.01)
