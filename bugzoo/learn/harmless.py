"""Harmless rewrites of a right program: other names, operands the other way round. Same gradients."""

import ast
import random
from collections.abc import Iterator
from typing import Any

NAMES = ("t", "u", "v", "w", "p", "q", "r", "z", "a", "b", "c", "e", "k", "m", "s")


def rewrites(text: str, seed: int, count: int = 3) -> Iterator[str]:
    """`count` programs that say the same in other words."""
    for n in range(count):
        rng = random.Random(f"{seed}:{n}")
        tree: Any = _Swapped(rng).visit(ast.parse(text))
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef):
                _renamed(node, rng)
        yield ast.unparse(ast.fix_missing_locations(tree))


class _Swapped(ast.NodeTransformer):
    """a + b as b + a, a * b as b * a, where both are made of names, numbers and their products."""

    def __init__(self, rng: random.Random):
        self.rng = rng

    def visit_BinOp(self, node: ast.BinOp) -> ast.AST:
        self.generic_visit(node)
        simple = all(
            isinstance(part, ast.Name | ast.Constant | ast.BinOp | ast.Load | ast.operator)
            for side in (node.left, node.right)
            for part in ast.walk(side)
        )
        if simple and isinstance(node.op, ast.Add | ast.Mult) and self.rng.random() < 0.5:
            node.left, node.right = node.right, node.left
        return node


def _renamed(function: ast.FunctionDef, rng: random.Random) -> None:
    """Local names drawn anew; names that any inner function or class uses stay."""
    if any(
        isinstance(n, ast.FunctionDef | ast.Lambda | ast.ClassDef)
        for n in ast.walk(function)
        if n is not function
    ):
        return
    used = {n.id for n in ast.walk(function) if isinstance(n, ast.Name)}
    used |= {a.arg for a in ast.walk(function) if isinstance(a, ast.arg)}
    stored = {
        n.id for n in ast.walk(function) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)
    }
    stored -= {a.arg for a in ast.walk(function) if isinstance(a, ast.arg)}
    free = [n for n in NAMES if n not in used]
    rng.shuffle(free)
    table = dict(zip(sorted(stored), free))
    for node in ast.walk(function):
        if isinstance(node, ast.Name) and node.id in table:
            node.id = table[node.id]
