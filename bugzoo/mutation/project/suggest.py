"""A test as text, ready to paste, that notices a mutant. It is run before it is shown.

Two kinds: gradcheck on seeded inputs of the recorded shapes, which is short; and one number of the
correct gradient under the cotangent that tells the mutant, for what gradcheck does not see.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from bugzoo.mutation.project.call import Call, observe
from bugzoo.mutation.project.probes import Judgement, Probe

MOST = 2000  # elements that gradcheck is asked to go through, inputs times outputs


class Unsayable(Exception):
    """An argument that has no short text."""


def texts(
    name: str, place: str, probe: Probe, found: Judgement, restore: Callable[[], None], inputs: str
) -> list[str]:
    """Tests that may notice what the probe noticed; `restore` puts the original back in its place."""
    restore()
    made: list[str] = []
    for write in (_gradcheck, _number):
        try:
            made.append(write(_Setting(name, place, probe, found, inputs)))
        except Exception:
            continue  # what cannot be said as text is not suggested
    return made


def outcome(text: str, install: Callable[[], None]) -> dict[str, Any]:
    """Run the tests of a text with `install`'s code in place: do they pass?"""
    try:
        install()
    except Exception as error:
        return {"passes": False, "why": str(error)}
    space: dict[str, Any] = {"__name__": "suggested"}
    try:
        exec(compile(text, "<suggested test>", "exec"), space)
        for thing, run in list(space.items()):
            if thing.startswith("test_"):
                run()
    except Exception as error:
        return {"passes": False, "why": f"{type(error).__name__}: {error}"}
    return {"passes": True, "why": ""}


class _Setting:
    """Lines that make the inputs of a probe anew, and what they make when they are run."""

    def __init__(self, name: str, place: str, probe: Probe, found: Judgement, inputs: str):
        self.name, self.probe, self.found = name, probe, found
        self.imports, self.lines = [f"from {place} import {name}"], list[str]()
        call = probe.call
        self.module = isinstance(call.owner, nn.Module)
        self.custom = isinstance(call.owner, type)
        if self.custom and call.owner.__name__ != name:  # a subclass inherits what is wrong
            name = call.owner.__name__
            self.imports = [f"from {call.owner.__module__} import {name}"]
        self.called = f"{name}.apply" if self.custom else "module" if self.module else name
        self.draws = False
        if inputs:
            self._from_maker(inputs, call)
        else:
            self._from_scratch(name, call)
        self.leaves = [n for n, x in call.tensors() if x.requires_grad]
        if any("." in n for n in self.leaves) or not (self.leaves or self.module):
            raise Unsayable

    def _from_maker(self, inputs: str, call: Call) -> None:
        file, _, maker = inputs.partition("::")
        home = file.rpartition("/")[2].removesuffix(".py")
        self.imports = [f"from {home} import {maker}", *self.imports]
        if self.imports[1].startswith(f"from {home} import "):
            self.imports = [f"{self.imports[1]}, {maker}"]
        listed = [*(["module"] if self.module else []), *call.names[: len(call.args)]]
        self.lines.append(f"{', '.join(listed)}{',' if len(listed) == 1 else ''} = {maker}(0)")
        self.arguments = listed[self.module :]

    def _from_scratch(self, name: str, call: Call) -> None:
        if self.module:
            args, kwargs = call.owner.__dict__.get("_bugzoo_made", ((), {}))
            made = [_said(a) for a in args] + [f"{k}={_said(a)}" for k, a in kwargs.items()]
            self.lines.append("torch.manual_seed(0)")
            self.lines.append(f"module = {name}({', '.join(made)}).double()")
        self.arguments = list[str]()
        listed = [*zip(call.names, call.args)]
        if len(call.args) > len(call.names):
            raise Unsayable
        for arg, value in [*listed, *call.kwargs.items()]:
            by_name = arg in call.kwargs
            said = arg if isinstance(value, Tensor) else _said(value)
            self.arguments.append(f"{arg}={said}" if by_name else said)
            if isinstance(value, Tensor):
                self.lines.append(f"{arg} = {self._tensor(value)}")

    def _tensor(self, x: Tensor) -> str:
        if not x.is_floating_point() or bool((x == x.round()).all()):
            if x.numel() > 64:
                raise Unsayable
            dtype = "" if x.dtype in (torch.int64, torch.bool) else f", dtype={x.dtype}"
            asked = ", requires_grad=True" if x.requires_grad else ""
            return f"torch.tensor({x.tolist()}{dtype}{asked})"
        self.draws = True
        positive = bool((x >= 0).all())
        shape = ", ".join(map(str, x.shape)) or "()"
        drawn = f"{'rand' if positive else 'randn'}({shape}, generator=gen, dtype={x.dtype}"
        return f"torch.{drawn}{', requires_grad=True' if x.requires_grad else ''})"

    def text(self, title: str, body: list[str], imports: tuple[str, ...] = ()) -> str:
        """The test as a whole."""
        drawing = ["gen = torch.Generator().manual_seed(0)"] if self.draws else []
        lines = [f"    {line}" for line in [*drawing, *self.lines, *body]]
        head = [*sorted({*imports, "import torch"}), *self.imports]
        name = f"test_{self.name.strip('_').lower()}_{title}"
        return "\n".join([*head, "", "", f"def {name}():", *lines]) + "\n"

    @property
    def call(self) -> str:
        return f"{self.called}({', '.join(self.arguments)})"

    def run(self, lines: list[str]) -> dict[str, Any]:
        """What the lines make, on the original."""
        code = self.text("made", [*lines, "return locals()"])
        space: dict[str, Any] = {}
        exec(code, space)
        return next(v for k, v in space.items() if k.startswith("test_"))()


def _gradcheck(setting: _Setting) -> str:
    """torch.autograd.gradcheck over the leaves, parameters included."""
    call = setting.probe.call
    seen = observe(call, "", 0)
    out = sum(
        x.numel() for n, x in seen.items() if x is not None and n[0] == "y" and n[1:].isdigit()
    )
    size = out * sum(x.numel() for _, x in call.leaves())
    if any(x.dtype != torch.float64 for _, x in call.leaves()) or size > 100 * MOST:
        raise Unsayable
    fast = ", fast_mode=True" if size > MOST else ""
    leaves = ", ".join(setting.leaves)
    if not setting.module:
        body = [
            f"assert torch.autograd.gradcheck(lambda {leaves}: {setting.call}, ({leaves},){fast})"
        ]
        return setting.text("gradcheck", body)
    given = ", ".join(setting.arguments)
    body = [
        "names, values = zip(*module.named_parameters())",
        "",
        f"def run({''.join(f'{leaf}, ' for leaf in setting.leaves)}*values):",
        "    own = dict(zip(names, values))",
        f"    return torch.func.functional_call(module, own, ({given},))",
        "",
        f"inputs = ({''.join(f'{leaf}, ' for leaf in setting.leaves)}*values)",
        f"assert torch.autograd.gradcheck(run, inputs{fast})",
    ]
    return setting.text("gradcheck", body)


def _number(setting: _Setting) -> str:
    """One number that the original gives, in the tensor that is furthest off in the mutant."""
    name, layout = setting.found.name, setting.probe.layout
    lines = [f"y = {setting.call}"]
    if name in setting.leaves:
        lines.insert(0, f"before = {name}.detach().clone()")
    after: list[str] = []
    if layout:
        setting.draws = True
        lines.append(f"g = {_cotangent(layout)}")
    if name == "g0":
        lines.append("before = g.clone()")
    where = "y"
    if name[0] == "d" and layout:
        leaf = name[1:]
        own = leaf if leaf in setting.leaves else f"dict(module.named_parameters())[{leaf!r}]"
        lines.append(f"(dx,) = torch.autograd.grad(y, {own}, g)")
        where = "dx"
    elif name == "g0" or name in setting.leaves:
        wrt = ", ".join(setting.leaves) or "*module.parameters()"
        lines.append(f"torch.autograd.grad(y, ({wrt},), g, allow_unused=True)")
        after = [f"assert torch.equal({'g' if name == 'g0' else name}, before)"]
    elif name.endswith(" after") and "model" in setting.arguments:
        where = f"dict(model.named_parameters())[{name.removesuffix(' after')!r}]"
    elif name != "y0":
        raise Unsayable
    if after:
        return setting.text("writes_into_nothing", [*lines, *after])
    if where != "y" and "dict" in where:
        lines[-1] = setting.call
    true = _evaluated(setting, lines, where)
    largest = int(true.abs().reshape(-1).argmax())
    index = [int(i) for i in torch.unravel_index(torch.tensor(largest), true.shape)]
    wanted = true.reshape(-1)[largest].item()
    scale = "rel=1e-9, abs=1e-9" if true.dtype == torch.float64 else "rel=1e-3, abs=1e-5"
    at = f"[{', '.join(map(str, index))}]" if index else ""
    listed = true.numel() <= 12
    if listed:
        numbers = [float(f"{v:.12g}") for v in true.reshape(-1).tolist()]
        body = [
            f"true = torch.tensor({numbers}, dtype={true.dtype})",
            f"found = {where}.detach().reshape(-1)",
            "torch.testing.assert_close(found, true, rtol=1e-9, atol=1e-9)",
        ]
        return setting.text("numbers", [*lines, *body])
    total = true.abs().sum().item()
    body = [
        f"assert {where}{at}.item() == pytest.approx({wanted:.12g}, {scale})",
        f"assert {where}.abs().sum().item() == pytest.approx({total:.12g}, {scale})",
    ]
    return setting.text("numbers", [*lines, *body], ("import pytest",))


def _evaluated(setting: _Setting, lines: list[str], where: str) -> Tensor:
    made = setting.run([*lines, f"found = {where}"])
    return made["found"].detach()


def _cotangent(layout: str) -> str:
    """The cotangent that a consumer of this layout hands back, for the output y."""
    dense = "10 * torch.randn({shape}, generator=gen, dtype=y.dtype)"
    return {
        "dense": dense.format(shape="y.shape"),
        "negated": dense.format(shape="y.shape"),
        "expanded": "torch.ones((), dtype=y.dtype).expand(y.shape)",
        "zero": "torch.zeros_like(y)",
        "transposed": dense.format(shape="y.mT.shape").replace("10 * ", "") + ".mT",
        "narrow": dense.format(shape="(*y.shape[:-1], y.shape[-1] + 3)").replace("10 * ", "")
        + "[..., 2:-1]",
    }[layout]


def _said(value: Any) -> str:
    """A plain value as text."""
    if value is None or isinstance(value, bool | int | float | str):
        return repr(value)
    if isinstance(value, tuple | list):
        return repr(type(value)(eval(_said(v)) for v in value))  # only of what _said itself wrote
    raise Unsayable
