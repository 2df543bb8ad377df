"""Mode plant: break a right program so that checks miss it; `bugzoo adopt` makes a specimen of it."""

import ast
import difflib
import sys
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from bugzoo import source
from bugzoo.errors import UserError
from bugzoo.learn import fix, program, text
from bugzoo.learn.fix import WALL
from bugzoo.learn.jobs import Bench
from bugzoo.learn.judge import examine
from bugzoo.learn.pool import right
from bugzoo.model import Case, Detector, Label, Specimen
from bugzoo.mutation.deadline import Overdue, deadline
from bugzoo.oracle.judge import judge
from bugzoo.subject import subject

CHECKS = (
    "shape_check", "one_index", "summed_loss", "relative_error", "numerical_gradient",
    "random_direction", "adjoint_dot_test", "gradcheck_fast", "gradcheck", "reference_gradient",
)  # fmt: skip
ENOUGH = 5  # checks to slip past
SEED = 11  # of the draws that the checks make
LIMIT = 60.0


@dataclass
class Planted:
    """What became of a planted bug: the cases that show it, the checks that catch it and that do not."""

    shown: list[str] = field(default_factory=list)
    caught: list[str] = field(default_factory=list)
    missed: list[str] = field(default_factory=list)
    remark: str = ""
    words: list[str] = field(default_factory=list)

    @property
    def solved(self) -> bool:
        return not self.remark and bool(self.shown) and len(self.missed) >= ENOUGH

    def to_dict(self) -> dict[str, Any]:
        return {
            "solved": self.solved,
            "shown_by": self.shown,
            "caught_by": self.caught,
            "missed_by": self.missed,
            "remark": self.remark,
        }


def template(op: str, code: str) -> str:
    """The right program, to be broken."""
    base = right(op)
    shown = text.bare(source.standalone(base.cls, base.cls.__name__))
    said = text.formula(fix._doc(base.cls))
    return (
        f'"""Break `backward` so that checks miss it. It must be wrong in one case at least.\n\n'
        f'{said}\n"""\n\n{shown}'
    )


def changes(op: str, code: str, source: str) -> list[tuple[list[str], list[str]]]:
    """What the learner changed in the template: pairs of (lines now, lines before)."""
    before, after = ([s.rstrip() for s in t.splitlines()] for t in (template(op, code), source))
    matcher = difflib.SequenceMatcher(None, before, after, autojunk=False)
    found = []
    for tag, a, b, c, d in matcher.get_opcodes():
        pair = ([s for s in after[c:d] if s.strip()], [s for s in before[a:b] if s.strip()])
        if tag != "equal" and any(pair):
            found.append(pair)
    return found


def written(op: str, path: Path, given: str | None = None) -> Specimen:
    """The learner's program as a broken twin. UserError where it cannot be used."""
    base = right(op)
    text_ = program.read(path) if given is None else given
    program.compiled(text_, str(path), base.cls.__name__)
    tree = ast.parse(text_)
    body = [
        n for n in tree.body if not (isinstance(n, ast.Expr) and isinstance(n.value, ast.Constant))
    ]
    lines = text_.splitlines()
    start = min((n.lineno for n in body), default=1)
    cut = "\n".join(lines[start - 1 :]) + "\n"
    import re

    cut = re.sub(rf"\b{base.cls.__name__}\b", source.NEUTRAL, cut)
    label = Label("planted", "wrong-math", "value", (base.truth.cases[0].name,))
    return Specimen(
        id=f"{base.file}/planted",
        kind=base.kind,
        twin="broken",
        cls=source.written(cut, base.cls),
        truth=base.truth,
        path=str(path),
        group="planted",
        label=label,
        base=base.id,
    )


def check(
    op: str,
    seed: int,
    path: Path,
    detectors: Mapping[str, Detector],
    *,
    limit: float = LIMIT,
) -> Planted:
    """Is it wrong, and which of the detectors see it?"""
    base = right(op)
    made = written(op, path)
    kind: Any = source.neutral(made.cls)
    held = Bench(base, None, f"plant-{op}", seed)
    found = Planted()
    try:
        with deadline(limit, WALL * limit), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            outcomes = examine(held, fix.measured(held, kind))
            if all(o.raised for o in outcomes):
                found.remark = "it raises in every case: nobody overlooks that"
                found.words = list(outcomes[0].words)
                return found
            forward = next((o for o in outcomes if o.words and "forward" in o.words[0]), None)
            if forward is not None:
                found.remark = "the forward gives another output; break the backward alone"
                return found
            found.shown = [o.name for o in outcomes if not o.ok]
            if not found.shown:
                found.remark = (
                    f"it is right in all {len(outcomes)} cases: nothing is planted. Harmless rewrites "
                    f"score 0"
                )
                return found
            for name, detector in detectors.items():
                seen = any(
                    _alarms(detector, made, case, n) for n, case in enumerate(base.truth.cases)
                )
                (found.caught if seen else found.missed).append(name)
    except Overdue as over:
        found.remark = fix.endless(over)
    return found


def _alarms(detector: Detector, made: Specimen, case: Any, n: int) -> bool:
    try:
        given = subject(made, case)
        if not set(detector.needs) <= given.offers:
            return False
        return detector(given, torch.Generator().manual_seed(SEED + n)).outcome == "alarm"
    except Exception:
        return False


def adopted(op: str, path: Path, name: str) -> str:
    """A specimen file that holds the right program and the planted one, its label to be filled in."""
    base = right(op)
    made = written(op, path)
    shown: list[tuple[str, tuple[str, ...]]] = []
    hidden: list[tuple[str, tuple[str, ...]]] = []
    channels: list[str] = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for case in base.truth.cases:
            assert isinstance(case, Case)
            finding = judge(made, case)
            channels += [w.channel for w in finding.witnesses if w.awake]
            (shown if finding.awake else hidden).append((case.name, finding.awake))
    if not shown:
        raise UserError(
            f"{path}: the oracle sees no mistake in any case of {op}. Plant one first; "
            f"'bugzoo learn check' tells whether it is awake."
        )
    channel = max(set(channels), key=channels.count)
    shown_by = tuple(n for n, seen in shown if channel in seen)
    home = _without_bugs(base)
    methods = _methods(path, base.cls.__name__)
    lines = [
        home.rstrip(),
        "",
        "",
        "@bug(",
        '    wrong="say in one sentence what is wrong",',
        f'    family="{_family(channel)}",',
        f'    channel="{channel}",',
        "    seen=(),",
        f"    shown_by={shown_by!r},",
        f"    hidden_by={tuple(n for n, _ in hidden)!r},",
        ")",
        f"class {name}({base.cls.__name__}):",
        '    """Tell how it looks from outside, and why it survives."""',
        "",
        methods,
        "",
    ]
    return "\n".join(lines)


def _family(channel: str) -> str:
    return {
        "side_effect": "saved-tensor-mutation",
        "reentrancy": "saved-tensor-mutation",
        "second_order": "higher-order",
        "memory": "memory-retention",
        "contract": "api-contract",
    }.get(channel, "wrong-math")


def _without_bugs(base: Specimen) -> str:
    """The specimen's own file without its broken twins."""
    file = sys.modules[base.cls.__module__].__file__
    assert file is not None
    full = Path(file).read_text(encoding="utf-8")
    lines = full.splitlines()
    drop: set[int] = set()
    for node in ast.parse(full).body:
        if isinstance(node, ast.ClassDef) and any(_called(d) == "bug" for d in node.decorator_list):
            first = min(d.lineno for d in node.decorator_list)
            drop |= set(range(first, (node.end_lineno or first) + 1))
    return "\n".join(s for n, s in enumerate(lines, 1) if n not in drop)


def _called(node: ast.expr) -> str:
    return ast.unparse(node.func) if isinstance(node, ast.Call) else ast.unparse(node)


def _methods(path: Path, name: str) -> str:
    """The methods of the learner's class that differ from the right program's, as text."""
    full = program.read(path)
    base = next(s for s in ast.parse(full).body if isinstance(s, ast.ClassDef) and s.name == name)
    lines = full.splitlines()
    found = []
    for node in base.body:
        if isinstance(node, ast.FunctionDef) and node.name in ("forward", "setup_context"):
            continue
        first = min([node.lineno, *(d.lineno for d in getattr(node, "decorator_list", []))])
        found.append("\n".join(lines[first - 1 : node.end_lineno]))
    return "\n\n".join(found)
