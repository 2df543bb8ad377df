"""A linter's rules on the text alone; nothing is run.

zero_grad       .backward() and .step() are called, gradients are never cleared
item            the value sent backward was built with .item(), .numpy() or .tolist()
lent            backward writes into its cotangent or into a saved tensor
retain_graph    a graph is retained
data            a write through .data, which autograd cannot see
"""

import ast
from collections.abc import Iterator

from torch import Generator

from bugzoo import Verdict, detector
from bugzoo.subject import Subject

Finding = tuple[int, str]
CUTS = {"item", "numpy", "tolist"}


@detector(
    needs="source",
    claims=("trajectory", "side_effect", "memory"),
    cost="no pass at all",
    blind_to="every wrong formula; whatever is spread over several names or files. A write into a "
    "tensor that nobody needs any more alarms, and so does a graph retained on purpose",
    thresholds={"0 findings": "exact; rules in the manner of torch-preflight and TorchFix"},
)
def source_lint(subject: Subject, gen: Generator) -> Verdict:
    tree = ast.parse(subject.source)
    found = [*_never_cleared(tree), *_retained(tree)]
    for function in ast.walk(tree):
        if isinstance(function, ast.FunctionDef):
            found += [*_cut_loss(function), *_writes(function)]
    if not found:
        return Verdict("clear", 0.0, f"0 findings in {len(subject.source.splitlines())} lines")
    line, words = min(found)
    because = f"{len(found)} findings, expected 0; first: {words}"
    return Verdict("alarm", float(len(found)), because, f"line {line}")


def _never_cleared(tree: ast.AST) -> Iterator[Finding]:
    called = {method.attr: method.lineno for method in _methods(tree)}
    cleared = any(
        isinstance(n, ast.Attribute) and n.attr == "grad" and isinstance(n.ctx, ast.Store)
        for n in ast.walk(tree)
    )
    if {"backward", "step"} <= called.keys() and "zero_grad" not in called and not cleared:
        yield called["step"], "a step after backward, but zero_grad is never called"


def _retained(tree: ast.AST) -> Iterator[Finding]:
    for n in ast.walk(tree):
        if isinstance(n, ast.keyword) and ast.unparse(n) == "retain_graph=True":
            yield n.value.lineno, "retain_graph=True"


def _cut_loss(function: ast.FunctionDef) -> Iterator[Finding]:
    sent = {ast.unparse(m.value) for m in _methods(function) if m.attr == "backward"}
    for n in ast.walk(function):
        if isinstance(n, ast.Assign | ast.AugAssign) and n.value is not None:
            targets = n.targets if isinstance(n, ast.Assign) else [n.target]
            for method in _methods(n.value) if {ast.unparse(t) for t in targets} & sent else ():
                if method.attr in CUTS:
                    yield method.lineno, f".{method.attr}() in a loss that is sent backward"


def _writes(function: ast.FunctionDef) -> Iterator[Finding]:
    """Writes in place: through .data anywhere, into what is lent in a `backward`."""
    lent = {a.arg for a in function.args.args[1:]} if function.name == "backward" else set()
    statements = (n for n in ast.walk(function) if isinstance(n, ast.stmt))
    for statement in sorted(statements, key=lambda n: n.lineno):
        written: list[ast.expr] = []
        if isinstance(statement, ast.AugAssign):
            written.append(statement.target)
        elif isinstance(statement, ast.Assign):
            written += [t for t in statement.targets if isinstance(t, ast.Subscript)]
        if isinstance(statement, ast.Assign | ast.AugAssign | ast.Expr | ast.Return):
            inside = _methods(statement)
            written += [m.value for m in inside if m.attr.endswith("_") and m.attr[0] != "_"]
        for target in written:
            while isinstance(target, ast.Subscript):
                target = target.value
            if isinstance(target, ast.Attribute) and target.attr == "data":
                yield statement.lineno, f"a write through {ast.unparse(target)}"
            if function.name == "backward" and isinstance(target, ast.Name) and target.id in lent:
                yield statement.lineno, f"backward writes into {target.id}, which is only lent"
        if isinstance(statement, ast.Assign) and function.name == "backward":
            names = {
                n.id for t in statement.targets for n in ast.walk(t) if isinstance(n, ast.Name)
            }
            saved = "saved_tensors" in ast.unparse(statement.value)
            lent = lent | names if saved else lent - names  # a new value under an old name


def _methods(tree: ast.AST) -> list[ast.Attribute]:
    """`x.name` of every call `x.name(...)`."""
    calls = (n.func for n in ast.walk(tree) if isinstance(n, ast.Call))
    return [f for f in calls if isinstance(f, ast.Attribute)]
