"""Edits: the text says what the tree says, and everything that was not touched is as it was."""

import ast
import textwrap

import pytest

from bugzoo import source
from bugzoo.mutation.breed import sites
from bugzoo.mutation.edit import after, before, delete, replace, swap, unwrap, wrap
from bugzoo.mutation.rewrite import Program, Unfaithful
from bugzoo.mutation.tidy import tidied
from bugzoo.mutation.tree import rebuilt


def program(text):
    return Program(textwrap.dedent(text).lstrip("\n"))


def node(p, text):
    """The first expression or statement whose text begins so."""
    found = [n for n in ast.walk(p.tree) if isinstance(n, ast.expr | ast.stmt)]
    return next(n for n in found if p.segment(n) == text or p.segment(n).startswith(text + "\n"))


def expect(p, edit, text):
    assert p.apply(edit).text == textwrap.dedent(text).lstrip("\n")


def test_offsets_count_characters_not_bytes():
    """The tree counts bytes of UTF-8; names and strings before the node may be longer in bytes."""
    p = program('β = "é"; dx = (β + g) * w  # ∂x\n')
    product = node(p, "(β + g) * w")

    expect(p, replace(product, "{0}", product.left), 'β = "é"; dx = β + g  # ∂x\n')


@pytest.mark.parametrize(
    ("before_", "target", "template", "after_"),
    [
        ("dx = (g * y).sum(-1)", "g * y", "y", "dx = y.sum(-1)"),
        ("dx = (g * y).sum(-1)", "g * y", "y + g", "dx = (y + g).sum(-1)"),
        ("dx = (a - b) / c", "a - b", "a - b - d", "dx = (a - b - d) / c"),
        ("dx = (a - b) / c", "(a - b) / c", "a - b", "dx = a - b"),
        ("dx = ((a)) * c", "a", "a ** 2", "dx = a ** 2 * c"),
        ("return (dx, dw)", "dx", "-dx", "return (-dx, dw)"),
        ("dx = f(a)", "a", "a + b", "dx = f(a + b)"),
        ("dx = f(a)", "f(a)", "a + b", "dx = a + b"),
        ("dx = not(a)", "a", "b", "dx = not(b)"),
        ("dx = -(a + b) ** 2", "a + b", "b", "dx = -b ** 2"),
    ],
)
def test_parentheses_are_those_that_are_needed(before_, target, template, after_):
    """Too many are dropped, too few are added, those of a call are left alone."""
    p = Program(before_)

    assert p.apply(replace(node(p, target), template)).text == after_


def test_holes_are_held_together():
    """A hole keeps its meaning wherever it is put."""
    p = Program("dx = a + b")
    total = node(p, "a + b")

    assert p.apply(replace(total, "{0}.detach()", total)).text == "dx = (a + b).detach()"
    assert p.apply(replace(total, "{1} - {0}", total, total)).text == "dx = a + b - (a + b)"


def test_layout_and_comments_survive():
    """Another operator in an expression over several lines changes one character."""
    text = "dx = (\n    a  # direct - path\n    - b * c  # and the other\n)\n"
    p = Program(text)
    difference = node(p, "a  # direct - path\n    - b * c")

    made = p.apply(replace(difference, "{0} + {1}", difference.left, difference.right))

    assert made.text == text.replace("    - b", "    + b")


def test_deleting():
    """A statement goes with the comment above it; a block is never left empty."""
    p = program("""
        def f(x):
            # forget the past
            x.zero()  # now

            if x:
                x.step()
            return x
        """)

    expect(
        p,
        delete(node(p, "x.zero()"), node(p, "x.step()")),
        """
        def f(x):

            if x:
                pass
            return x
        """,
    )


def test_moving_and_inserting():
    """Statements take their comments along and the indentation of the new place."""
    p = program("""
        def f(x):
          a(x)
          for y in x:
            # the middle
            b(y)  # twice
          c(x)
        """)
    a, b, c = (node(p, text) for text in ("a(x)", "b(y)", "c(x)"))

    expect(
        p,
        delete(b) + after(c, "{0}", b) + before(a, "if x:\n    {0}", c) + after(a, "d(x)"),
        """
        def f(x):
          if x:
            c(x)
          a(x)
          d(x)
          for y in x:
            pass
          c(x)
          # the middle
          b(y)  # twice
        """,
    )
    assert "for y in x:\n    # the middle\n    b(y)  # twice\n" in p.apply(swap(a, c)).text


def test_wrapping_and_unwrapping():
    """A block is indented once more, or once less; blank lines stay."""
    p = program("""
        def f(x):
            if x:
                a = 1

                b = 2
            return b
        """)
    branch = node(p, "if x:")

    expect(
        p,
        unwrap(branch, branch.body),
        """
        def f(x):
            a = 1

            b = 2
            return b
        """,
    )
    wrapped = p.apply(wrap("with y:", [branch, node(p, "return b")]))
    assert (
        "    with y:\n        if x:\n            a = 1\n\n            b = 2\n        return b\n"
        in (wrapped.text)
    )


@pytest.mark.parametrize(
    ("text", "target"),
    [
        ("a(); b()", "a()"),
        ("if x: a()", "a()"),
        ("if x:\n    a()\nelif y:\n    b()\n", "if y:"),
        ('if x:\n    a("""1\n2""")\n', "a("),
    ],
)
def test_what_cannot_be_done_is_refused(text, target):
    """Several statements on a line, an elif alone, a string over lines that would be indented."""
    p = Program(text)
    if target == "if y:":
        statement = p.tree.body[0].orelse[0]
        edit = unwrap(statement, statement.body)
    elif target == "a(":
        edit = unwrap(p.tree.body[0], p.tree.body[0].body)
    else:
        edit = before(_statement(p, target), "c()")

    with pytest.raises(Unfaithful):
        p.apply(edit)


def _statement(p, text):
    return next(n for n in ast.walk(p.tree) if isinstance(n, ast.Expr) and p.segment(n) == text)


def test_two_edits_at_one_place_are_refused():
    """Which of them should win?"""
    p = Program("dx = a + b")
    total = node(p, "a + b")

    with pytest.raises(Unfaithful, match="one place"):
        p.apply(replace(total, "c") + replace(total.left, "d"))


def _tidy(text, target, template):
    p = program(text)
    return tidied(p.apply(replace(node(p, target), template)), p).text


def test_an_assignment_made_dead_is_removed():
    """And those that only it used; an unpacking stays, as people leave it."""
    text = """
        def f(g, saved):
            y, std = saved
            gy = g * y
            mean = gy.mean()
            return g - y * mean
        """

    assert _tidy(text, "g - y * mean", "g") == textwrap.dedent("""\
        def f(g, saved):
            y, std = saved
            return g
        """)


def test_what_says_nothing_is_removed():
    """`g = g` goes, with the `if` in which it stands alone; a bare name goes too."""
    text = "def f(g, n):\n    if n:\n        g = g / n\n    g.clip(0)\n    return g\n"

    assert "if" not in _tidy(text, "g / n", "g")
    assert "    g\n" not in _tidy(text, "g.clip(0)", "g")
    assert "    g\n" in _tidy(text.replace("g.clip(0)", "g"), "g / n", "g + n")


@pytest.mark.parametrize(
    "line", ["h = self.model(x)", "h = x.mul_(2)", "h = next(x)", "h, k = x", "h = k = x"]
)
def test_what_does_more_than_give_a_value_stays(line):
    """Calls that act: a model has batch statistics, an in-place method writes."""
    text = f"def f(self, x):\n    {line}\n    return h\n"

    assert line in _tidy(text, "return h", "return x")


def test_what_is_added_to_stays():
    """`dw += ...` needs its first value although nobody reads dw any more."""
    text = "def f(x):\n    dw = 0\n    for y in x:\n        dw += y\n    return dw\n"

    assert "dw = 0" in _tidy(text, "return dw", "return None")


def test_every_edit_of_every_correct_specimen_is_faithful(zoo):
    """Parsed anew, the text has the tree that the edit made of the old tree."""
    count = 0
    for specimen in zoo.specimens.values():
        if specimen.twin != "broken":
            p = Program(source.standalone(specimen.cls))
            for site in sites(p, "Subject")[::20]:  # breeding looks at all of them too
                made = p.apply(site.edit)
                assert ast.dump(ast.parse(made.text)) == ast.dump(rebuilt(p.tree, site.edit.puts))
                count += 1

    assert count > 100
