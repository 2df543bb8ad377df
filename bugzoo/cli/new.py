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

    <J u, g>  ==  <u, J' g>          left by central differences, right by backward

Name the source of the idea.
"""

from torch import Generator

from bugzoo import Verdict, detector
from bugzoo.subject import Subject
from detectors._difference import delivered, normal_like, point, rounding, slope

STEP = 1e-5
TOLERANCE = 1e-5


@detector(
    needs="operation",
    claims="value",
    cost="4 F + 1 B, whatever the size",
    blind_to="say what it cannot see: kinks, errors below the tolerance, anything but a wrong value",
    thresholds={{"step = 1e-5": "say where it comes from", "relative error = 1e-5": "yours"}},
)
def {name}(subject: Subject, gen: Generator) -> Verdict:
    at = point(subject, gen)  # inputs in float64, or why none can be had
    if at.unfit:
        return Verdict("abstain", because=at.unfit)
    u, g = normal_like(at.wrt, gen), normal_like(at.y, gen)
    left = slope(subject, at, u, g, STEP)
    right = sum((a * b).sum().item() for a, b in zip(u, delivered(subject, at, g)))
    gap = max(abs(left - right) - rounding(at, g, STEP), 0.0)
    score = gap / (max(abs(left), abs(right)) or 1.0)
    outcome = "alarm" if score > TOLERANCE else "clear"
    return Verdict(outcome, score, f"<J u, g> = {{left:.9g}}, <u, J' g> = {{right:.9g}}")
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
