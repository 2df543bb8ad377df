"""What tensors are called in messages: as in the program that the learner reads.

forward(ctx, x, s)  ->  x, s, and their gradients dx, ds          backward(ctx, g)  ->  g
"""

import inspect
from typing import Any

from torch import Tensor


def parameters(kind: Any) -> dict[str, list[str]]:
    """Names of the inputs of a program and of its cotangents, from its two signatures."""
    forward, backward = (
        [p.name for p in inspect.signature(f).parameters.values() if p.kind != p.VAR_POSITIONAL]
        for f in (kind.forward, kind.backward)
    )
    own = [n for n in forward if n != "ctx"]
    return {"inputs": own, "cotangents": [n for n in backward if n != "ctx"] or ["g"]}


def inputs(job: Any) -> list[str]:
    """Names of the inputs that require a gradient."""
    named = zip(_padded(job["names"]["inputs"], len(job["inputs"]), "x"), job["inputs"])
    return [n for n, x in named if isinstance(x, Tensor) and x.requires_grad]


def gradients(job: Any) -> list[str]:
    """Names of the gradients, in the order in which they are measured."""
    return [f"d{n}" for n in inputs(job)]


def cotangents(job: Any) -> list[str]:
    return _padded(job["names"]["cotangents"], len(job["g"]), "g")


def place(said: str, job: Any) -> str:
    """'the cotangent g' for 'cotangent 0': a tensor that was lent, by its name."""
    what, _, number = said.rpartition(" ")
    n = int(number)
    if what == "input":
        tensors = zip(_padded(job["names"]["inputs"], len(job["inputs"]), "x"), job["inputs"])
        return f"the input {[name for name, x in tensors if isinstance(x, Tensor)][n]}"
    if what == "cotangent":
        return f"the cotangent {cotangents(job)[n]}"
    if what == "output":
        return "the output y" if len(job["g"]) == 1 else f"output {n + 1}"
    return f"saved tensor {n + 1}"


def _padded(names: list[str], count: int, letter: str) -> list[str]:
    return [*names, *(f"{letter}{n}" for n in range(len(names), count))][:count]
