"""What an operation or a loop delivers, as plain tensors: no judgement, so it may run anywhere.

The same function measures the right program and the learner's, here or in a sandbox; who compares
the two holds the truth, and the measured program never sees it.
"""

import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode, _get_current_function_mode

Op = Callable[..., Any]
Job = dict[str, Any]
Measured = dict[str, Any]


def measure(op: Op, job: Job, file: str = "") -> Measured:
    """Everything of one case: forward, gradients, what is changed, repeated, alone, zero, second order.

    job: inputs, extras, g, h (two cotangents), v (directions), others (more inputs), twice,
    deterministic. `file`: the learner's, to find the line in a traceback.
    """
    found: Measured = {
        "error": "",
        "line": 0,
        "changed": [],
        "again": "",
        "alone": [],
        "zero": True,
    }
    try:
        _plain(op, job, found)
    except Exception as error:
        return found | {"error": words(error), "line": line_of(error, file)}
    try:
        _uses(op, job, found)
    except Exception as error:
        found["again"] = f"a further use raises {words(error)}"
        found["line"] = line_of(error, file)
    return found


def _plain(op: Op, job: Job, found: Measured) -> None:
    x = again(job["inputs"])
    before = [_copy(t) for t in x if isinstance(t, Tensor)]
    with drawing(job):
        y = outputs(op(*x, *job["extras"]))
    found["y"] = [b.detach().clone() for b in y]
    _changes(found, "input", [t for t in x if isinstance(t, Tensor)], before)
    if not y:
        found["dx"] = [None for _ in leaves(x)]
        return
    g = job["g"]
    lent = {
        "input": [t for t in x if isinstance(t, Tensor)],
        "output": list(y),
        "cotangent": list(g),
    }
    lent["saved tensor"] = [s for b in y for s in _saved(b)]
    kept = {name: [_copy(t) for t in listed] for name, listed in lent.items()}
    log, hooks = _Ops(), []
    try:
        hooks = log.on(y[0])
        dx = torch.autograd.grad(y, leaves(x), g, allow_unused=True, retain_graph=True)
    finally:
        log.off(hooks)
    found["ops"] = log.names
    found["dx"] = [None if d is None else d.detach().clone() for d in dx]
    for name, listed in lent.items():
        _changes(found, name, listed, kept[name])
    for b, was in zip(g, kept["cotangent"]):  # lent to the next program too
        if 0 not in b.stride():
            with torch.no_grad():
                b.copy_(was)


def _uses(op: Op, job: Job, found: Measured) -> None:
    """The same pass again, with another in between, for one input alone, for a zero cotangent."""

    def once(x: Any) -> tuple[Tensor, ...]:
        with drawing(job):
            return outputs(op(*x, *job["extras"]))

    def pull(y: tuple[Tensor, ...], x: Any, g: Any) -> tuple[Tensor | None, ...]:
        lent = tuple(b.clone() if 0 not in b.stride() else b for b in g)
        return torch.autograd.grad(y, leaves(x), lent, allow_unused=True, retain_graph=True)

    first = found["dx"]
    x = again(job["inputs"])
    y = once(x)
    if not y:
        return
    if job["deterministic"]:
        handed = pull(y, x, job["g"])
        kept = [None if d is None else d.clone() for d in handed]
        pull(y, x, job["h"])
        if not same(handed, kept):
            found["again"] = "a gradient handed out is overwritten by the next backward"
        elif not same(pull(y, x, job["g"]), kept):
            found["again"] = "a second backward with the same cotangent gives another gradient"
        else:
            mine, theirs = again(job["inputs"]), again(job["others"])
            y_mine = once(mine)
            once(theirs)
            if not same(pull(y_mine, mine, job["g"]), kept):
                found["again"] = "another forward in between changes the gradient"
        wrt = leaves(x)
        for n in range(len(wrt) if len(wrt) > 1 and first else 0):
            alone = again(job["inputs"])
            for m, leaf in enumerate(leaves(alone)):
                leaf.requires_grad_(m == n)
            b = once(alone)
            found["alone"].append(pull(b, alone, job["g"])[0] if b else None)
    zeros = tuple(torch.zeros(b.shape, dtype=b.dtype) for b in job["g"])
    found["zero"] = all(d is None or bool(d.isfinite().all()) for d in pull(y, x, zeros))
    if job["twice"]:
        found["second"] = _second(once, job)


def _second(once: Callable[[Any], tuple[Tensor, ...]], job: Job) -> list[Tensor | None]:
    x = again(job["inputs"])
    g = tuple(b.clone().requires_grad_() for b in job["g"])
    wrt = (*leaves(x), *g)
    dx = torch.autograd.grad(once(x), leaves(x), g, create_graph=True, allow_unused=True)
    pairs = [(d, v) for d, v in zip(dx, job["v"]) if d is not None and d.requires_grad]
    if not pairs:
        return [None for _ in wrt]
    s = torch.stack([(d * v).sum() for d, v in pairs]).sum()
    return list(torch.autograd.grad(s, wrt, allow_unused=True))


def measure_loop(kind: Any, options: Any, steps: int, seed: int, file: str = "") -> Measured:
    """The losses of a run, and its parameters after each step."""
    found: Measured = {"error": "", "line": 0, "losses": [], "states": [], "grads": [], "start": {}}
    try:
        loop = kind(torch.Generator().manual_seed(seed), **options)
        found["start"] = _state(loop.models)
        for _ in range(steps):
            found["losses"].append(float(loop.advance()))
            found["states"].append(_state(loop.models))
            found["grads"].append(_state(loop.models, gradients=True))
    except Exception as error:
        found |= {"error": words(error), "line": line_of(error, file)}
    return found


def _state(models: Any, gradients: bool = False) -> dict[str, Tensor | None]:
    named = {}
    for n, model in enumerate(models):
        for name, p in model.named_parameters():
            value = p.grad if gradients else p
            key = name if n == 0 else f"model {n} {name}"
            named[key] = None if value is None else value.detach().clone()
    return named


class _Ops(TorchFunctionMode):
    """Names of the tensor operations that a pass calls, but for views and questions of shape.

    A dispatch mode would see more and has torch import its compiler, which takes seconds.
    """

    def __init__(self) -> None:
        super().__init__()
        self.names: list[str] = []
        self.inside = False

    def on(self, y: Tensor) -> list[Any]:
        """Listen while the node of `y` works; a mode around `grad` itself would see `grad` alone."""
        node: Any = y.grad_fn
        return [node.register_prehook(self._enter), node.register_hook(self._leave)]

    def off(self, hooks: list[Any]) -> None:
        self._leave()
        for hook in hooks:
            hook.remove()

    def _enter(self, *_: Any) -> None:
        if not self.inside:
            self.inside = True
            self.__enter__()

    def _leave(self, *_: Any) -> None:
        # a backward that raised has had its modes taken off by the engine
        if self.inside and _get_current_function_mode() is self:
            self.__exit__(None, None, None)
        self.inside = False

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = getattr(func, "__name__", "")
        if name not in (
            "__get__",
            "detach",
            "view",
            "size",
            "dim",
            "stride",
            "saved_tensors",
            "__len__",
        ):
            self.names.append(name)
        return func(*args, **(kwargs or {}))


@contextmanager
def drawing(job: Job) -> Iterator[None]:
    """An operation that draws draws the same each time."""
    if job["deterministic"]:
        yield
        return
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        yield


def again(inputs: Any) -> tuple[Any, ...]:
    """The same values as fresh leaves, strides kept."""
    return tuple(
        x.detach().clone(memory_format=torch.preserve_format).requires_grad_(x.requires_grad)
        if isinstance(x, Tensor)
        else x
        for x in inputs
    )


def leaves(inputs: Any) -> tuple[Tensor, ...]:
    return tuple(x for x in inputs if isinstance(x, Tensor) and x.requires_grad)


def outputs(out: Any) -> tuple[Tensor, ...]:
    """Outputs that carry a gradient."""
    listed = out if isinstance(out, tuple | list) else (out,)
    return tuple(y for y in listed if isinstance(y, Tensor) and y.requires_grad)


def same(a: Any, b: Any) -> bool:
    return all(
        (x is None and y is None)
        or (
            x is not None
            and y is not None
            and torch.equal(x.nan_to_num(1e300), y.nan_to_num(1e300))
        )
        for x, y in zip(a, b, strict=True)
    )


def words(error: BaseException) -> str:
    """The kind of an exception and the first line of what it says, unaltered."""
    return f"{type(error).__name__}: {str(error).partition(chr(10))[0]}"


def line_of(error: BaseException, file: str) -> int:
    """The last line of `file` in the traceback, or 0."""
    frames = [f for f in traceback.extract_tb(error.__traceback__) if file and f.filename == file]
    return frames[-1].lineno or 0 if frames else 0


def _saved(y: Tensor) -> list[Tensor]:
    node: Any = y.grad_fn
    return [s for s in getattr(node, "saved_tensors", ()) if isinstance(s, Tensor)]


def _copy(t: Tensor) -> Tensor:
    return t.detach().clone()


def _changes(found: Measured, name: str, now: list[Tensor], before: list[Tensor]) -> None:
    for n, (t, was) in enumerate(zip(now, before)):
        with torch.no_grad():
            differ = (t != was) & ~(t.isnan() & was.isnan())
        count = int(differ.sum())
        if count and f"{name} {n}" not in [c[0] for c in found["changed"]]:
            found["changed"].append([f"{name} {n}", count, t.numel()])
