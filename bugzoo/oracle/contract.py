"""Is autograd's protocol kept? Raising, None, shape, dtype, NaN for a zero cotangent, requires_grad subsets.

A pass that raises as the case is used is a loud bug: the user sees it, so it is scored apart from
the silent ones. One that raises only for a zero cotangent or a subset is a broken contract.
"""

from collections.abc import Iterator
from itertools import chain
from typing import Any

from torch import Tensor

from bugzoo.mismatch import compare
from bugzoo.oracle.probe import Probe, again, cotangent, delivered, leaves
from bugzoo.oracle.witness import Witness


def examine(probe: Probe) -> Witness:
    """Run the case as it is, with a zero cotangent, and with each input alone requiring grad."""
    inputs = probe.inputs()
    try:
        y = probe.outputs(inputs)
        g = probe.cotangents(y)
        got = delivered(y, inputs, g, retain_graph=True)
    except Exception as error:
        return Witness("contract", True, "as it is", words(error), float("inf"), loud=True)
    for n, (x, d) in enumerate(zip(leaves(inputs), got, strict=True)):
        if d is not None and (d.shape != x.shape or d.dtype != x.dtype):
            return _broken("as it is", f"dx{n} is {_kind(d)}, its input {_kind(x)}")

    # kept now: an implementation that hands out its own buffer would change it in the next pass
    together = tuple(None if d is None else d.clone() for d in got)
    try:
        broken = chain(_zero(probe, inputs, y), _alone(probe, inputs, g, together))
        kept = Witness("contract", False, "as it is, zero cotangent, subsets", "kept")
        return next(broken, kept)
    except Exception as error:
        return _broken("zero cotangent, subsets", words(error))


def words(error: Exception) -> str:
    """The kind of an exception and the first line of what it says."""
    return f"{type(error).__name__}: {str(error).partition(chr(10))[0]}"


def _zero(probe: Probe, inputs: tuple[Any, ...], y: tuple[Tensor, ...]) -> Iterator[Witness]:
    """A zero cotangent must give finite gradients."""
    zeros = tuple(cotangent(b, "zero", probe.gen) for b in y)
    for n, d in enumerate(delivered(y, inputs, zeros)):
        if d is not None and not bool(d.isfinite().all()):
            bad = d[~d.isfinite()][0].item()
            yield _broken("zero cotangent", f"dx{n} holds {bad:.6g}, true 0")


def _alone(
    probe: Probe,
    inputs: tuple[Any, ...],
    g: tuple[Tensor, ...],
    together: tuple[Tensor | None, ...],
) -> Iterator[Witness]:
    """An input that alone requires grad gets what it gets beside the others."""
    wrt = leaves(inputs)
    for n in range(len(wrt) if len(wrt) > 1 and probe.truth.deterministic else 0):
        alone = again(inputs)
        for m, x in enumerate(leaves(alone)):
            x.requires_grad_(m == n)
        y = probe.outputs(alone)
        g_now = tuple(b if 0 in b.stride() else b.clone() for b in g)
        found = delivered(y, alone, g_now) if y else (None,)
        expected = together[n]
        if expected is None:
            continue
        difference = compare(found[0], expected, f"dx{n}")
        if difference.error > probe.case.rtol:
            yield _broken(f"only input {n} requires grad", difference.words, difference.error)


def _broken(probe: str, said: str, error: float = float("inf")) -> Witness:
    return Witness("contract", True, probe, said, error)


def _kind(t: Tensor) -> str:
    return f"{'x'.join(map(str, t.shape)) or 'scalar'} {str(t.dtype).removeprefix('torch.')}"
