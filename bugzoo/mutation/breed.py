"""All mutants of a class, with ids that never change.

    for mutant in mutants(source.standalone(LayerNorm)):
        print(mutant.diff)

A mutant's id is a hash of the reference text, the operator, the position and the new text. Mutants
whose trees are equal are one mutant: the first operator in the order of names has it, the others
are noted in `also`.
"""

import ast
import difflib
import hashlib
import random
from collections.abc import Container, Iterable, Iterator
from dataclasses import dataclass, replace

from bugzoo.errors import UserError, did_you_mean
from bugzoo.mutation.edit import Edit
from bugzoo.mutation.kinds import find, scopes
from bugzoo.mutation.operator import Operator, collected
from bugzoo.mutation.rewrite import Program, Unfaithful
from bugzoo.mutation.tidy import tidied

PRAGMA = "# bugzoo: no mutate"
PAIR = " + "  # between the names of two operators


@dataclass(frozen=True)
class Mutant:
    """A wrong version of a right text. `line` counts in the right text, `before` and `after` are lines."""

    id: str
    text: str
    operator: str
    line: int
    before: str
    after: str
    method: str
    diff: str
    also: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class Site:
    """A place where an operator makes an edit."""

    operator: str
    method: str
    line: int
    column: int
    edit: Edit


def mutants(
    text: str,
    class_name: str = "Subject",
    methods: list[str] | None = None,
    operators: Iterable[Operator] | None = None,
) -> list[Mutant]:
    """Every mutant of the class (or function) in `text`, in the order of operators and lines."""
    program = Program(text)
    listed = sites(program, class_name, methods, operators)
    return _distinct(program, ((site,) for site in listed))


def pairs(
    text: str,
    class_name: str = "Subject",
    *,
    count: int,
    seed: int,
    methods: list[str] | None = None,
    operators: Iterable[Operator] | None = None,
) -> list[Mutant]:
    """At most `count` second-order mutants: two operators in two statements.

    Strata are (operator, function); two are drawn, then a site in each, so that an operator with
    many sites is not drawn more often than one with few.
    """
    program = Program(text)
    strata: dict[tuple[str, str], list[Site]] = {}
    listed = sites(program, class_name, methods, operators)
    single = {changed.dump for s in listed if (changed := attempt(program, s.edit)) is not None}
    for site in listed:
        strata.setdefault((site.operator, site.method), []).append(site)
    rng = random.Random(seed)
    keys = sorted(strata)

    def drawn() -> Iterator[tuple[Site, Site]]:
        for _ in range(20 * count if len(keys) > 1 else 0):
            first, second = (rng.choice(strata[key]) for key in rng.sample(keys, 2))
            if first.operator != second.operator and first.line != second.line:
                yield (first, second) if first.line < second.line else (second, first)

    return _distinct(program, drawn(), count, single)


def sites(
    program: Program,
    class_name: str,
    methods: list[str] | None = None,
    operators: Iterable[Operator] | None = None,
) -> list[Site]:
    """Every edit of every operator, by the operators' names, then in reading order."""
    chosen = sorted(operators or collected().values(), key=lambda o: o.name)
    places = [
        (scope, node)
        for scope in scopes(program, find(program, class_name), methods)
        if not _spared(program, scope.function)
        for node in scope.nodes()
        if not _spared(program, node)
    ]
    return [
        Site(op.name, scope.name, _line(edit), _column(edit), edit)
        for op in chosen
        for scope, node in places
        if scope.kind in op.on
        for edit in op(node, scope)
    ]


def by_name(names: Iterable[str]) -> list[Operator]:
    """Operators by name. Raises UserError on an unknown one."""
    known = collected()
    for name in names:
        if name not in known:
            raise UserError(f"unknown operator '{name}'.{did_you_mean(name, known)}")
    return [known[name] for name in names]


def attempt(program: Program, edit: Edit) -> Program | None:
    """The mutated program, tidied; None where the text cannot follow the tree, or nothing changed."""
    try:
        changed = tidied(program.apply(edit), program)
    except Unfaithful:
        return None
    return None if changed.dump == program.dump else changed


def _distinct(
    program: Program,
    groups: Iterable[tuple[Site, ...]],
    count: int | None = None,
    known_trees: Container[str] = (),
) -> list[Mutant]:
    """One mutant for each new tree that the groups of sites lead to, `count` at most."""
    found: dict[str, Mutant] = {}
    for group in groups:
        if count is not None and len(found) == count:
            break
        edit = sum((site.edit for site in group), Edit())
        changed = attempt(program, edit)
        if changed is None or changed.dump in known_trees:
            continue
        known, name = found.get(changed.dump), _name(group)
        if known is None:
            found[changed.dump] = _mutant(program, changed, group)
        elif name not in (known.operator, *known.also):
            found[changed.dump] = replace(known, also=(*known.also, name))
    return list(found.values())


def _mutant(program: Program, changed: Program, group: tuple[Site, ...]) -> Mutant:
    old, new = program.text.splitlines(), changed.text.splitlines()
    diff = list(difflib.unified_diff(old, new, "right", "wrong", lineterm=""))
    removed = [line[1:].strip() for line in diff[2:] if line.startswith("-")]
    added = [line[1:].strip() for line in diff[2:] if line.startswith("+")]
    name = _name(group)
    position = " ".join(f"{site.line}:{site.column}" for site in group)
    parts = (program.text, name, position, changed.text)
    digest = hashlib.sha256("\0".join(parts).encode()).hexdigest()
    return Mutant(
        id=digest[:12],
        text=changed.text,
        operator=name,
        line=group[0].line,
        before="\n".join(removed),
        after="\n".join(added),
        method=", ".join(dict.fromkeys(site.method for site in group)),
        diff="\n".join(diff),
    )


def _name(group: tuple[Site, ...]) -> str:
    return PAIR.join(site.operator for site in group)


def _line(edit: Edit) -> int:
    return edit.puts[-1].nodes[0].lineno


def _column(edit: Edit) -> int:
    return edit.puts[-1].nodes[0].col_offset


def _spared(program: Program, node: ast.AST) -> bool:
    """Does the line on which the node begins say that it is not to be touched?"""
    line = getattr(node, "lineno", 0)
    return line > 0 and program.text.split("\n")[line - 1].rstrip().endswith(PRAGMA)
