"""bugzoo new: a specimen or detector file to start from, that passes the tests as it stands."""

import keyword
import re
from pathlib import Path

import click

from bugzoo.errors import UserError

SPECIMEN = '''\
"""{title}: say what the operation is, in a sentence.

    y  = x**2                                        x, y, g, dx: any one shape
    dx = 2 * x * g

Name the source of the formula.
"""

from torch.autograd import Function

from bugzoo import bug, correct
from bugzoo.cases import changed, normal


def reference(x):
    """The same function in plain differentiable torch: the oracle holds both twins against it."""
    return x * x


PLAIN = normal("plain", (4, 5))
CASES = [PLAIN, changed(PLAIN, "zeros", lambda x: x.zero_())]


@correct(cases=CASES, reference=reference)
class {name}(Function):
    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x * x

    @staticmethod
    def backward(ctx, g):
        (x,) = ctx.saved_tensors
        return 2 * x * g


@bug(
    wrong="the factor 2 of the derivative is lost",
    family="scaling",
    channel="value",
    seen=(),  # addresses of real occurrences; () says that none is known
    shown_by="plain",
    hidden_by="zeros",
)
class LostFactor({name}):
    """Tell how it looks from outside, and why it survives."""

    @staticmethod
    def backward(ctx, g):
        (x,) = ctx.saved_tensors
        return x * g
'''

DETECTOR = '''\
"""{title}: say in a sentence what is compared with what.

    (f(x + h u) - f(x - h u)) / 2h  ==  <dx, u>          u: random direction, f: <y, g>

Name the source of the idea.
"""

import torch

from bugzoo import Verdict, detector
from bugzoo.subject import leaves, tensors

STEP = 1e-5
TOLERANCE = 1e-5


@detector(
    needs="operation",
    claims="value",
    cost="3 forwards, 1 backward, whatever the size",
    blind_to="kinks, errors below the tolerance, anything that is not a wrong value",
    thresholds={{"STEP = 1e-5": "yours: say where it comes from", "TOLERANCE = 1e-5": "yours"}},
)
def {name}(subject, gen):
    x = subject.inputs(gen)
    wrt = leaves(x)
    directions = [torch.randn(t.shape, generator=gen, dtype=t.dtype) for t in wrt]
    y = tensors(subject.op(*x))
    g = [torch.randn(t.shape, generator=gen, dtype=t.dtype) for t in y]
    dx = torch.autograd.grad(y, wrt, g, allow_unused=True)
    right = sum((d * u).sum().item() for d, u in zip(dx, directions) if d is not None)

    sides = []
    with torch.no_grad():
        for h in (STEP, -STEP):
            for t, u in zip(wrt, directions):
                t += h * u
            sides.append(sum((a * b).sum().item() for a, b in zip(tensors(subject.op(*x)), g)))
            for t, u in zip(wrt, directions):
                t -= h * u
    left = (sides[0] - sides[1]) / (2 * STEP)

    score = abs(left - right) / max(abs(left), abs(right), 1e-12)
    outcome = "alarm" if score > TOLERANCE else "clear"
    return Verdict(outcome, score, f"difference quotient {{left:.9g}}, <dx, u> {{right:.9g}}")
'''


@click.command("new", short_help="A specimen or detector file to start from.")
@click.argument("kind", type=click.Choice(["specimen", "detector"]))
@click.argument("name")
@click.option(
    "--to", type=click.Path(), help="Folder to write into.  [default: where its kind lives]"
)
def command(kind: str, name: str, to: str | None) -> None:
    """Write a file for a new specimen or detector called NAME (snake_case), never over another."""
    if not re.fullmatch(r"[a-z][a-z0-9_]*", name) or keyword.iskeyword(name):
        raise UserError(f"'{name}' is no name for a {kind}: expected snake_case, e.g. max_pool")
    folder = Path(to) if to else _home(kind)
    path = folder / f"{name}.py"
    if path.exists():
        raise UserError(f"{path} exists already; choose another name, or --to another folder")
    words = name.split("_")
    title = " ".join(words).capitalize()
    if kind == "specimen":
        text = SPECIMEN.format(title=title, name="".join(w.capitalize() for w in words))
    else:
        text = DETECTOR.format(title=title, name=name)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise UserError(f"cannot write {path}: {error.strerror}") from None
    click.echo(f"wrote {path}")
    given = f" --{kind}s {path}" if to else ""
    if kind == "specimen":
        click.echo(f"next: bugzoo verify '{name}/*'{given}")
    else:
        click.echo(f"next: bugzoo run --detector {name}{given}")


def _home(kind: str) -> Path:
    """The folder of the checkout where files of this kind live."""
    import bugzoo

    package = Path(bugzoo.__file__).parent
    if not (package.parent / "pyproject.toml").exists():
        raise UserError(
            "bugzoo is installed, not checked out: say where the file shall lie with --to DIR"
        )
    if kind == "detector":
        return package.parent / "detectors"
    return package / "specimens" / "operations"
