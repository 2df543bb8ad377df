"""The school's exercises: what is shown, what is said, and that the right answer is accepted."""

import inspect
import random
import re
import subprocess
import sys
import time

import pytest
import torch

from bugzoo.errors import UserError
from bugzoo.learn import (
    detect,
    explained,
    find,
    fix,
    hints,
    instruments,
    naive,
    naming,
    plant,
    pool,
    program,
    shape,
    survivor,
    text,
    views,
)
from bugzoo.learn import path as paths
from bugzoo.learn.exercise import Exercise, parse
from bugzoo.learn.jobs import Bench, job
from bugzoo.learn.judge import examine
from bugzoo.learn.measure import leaves
from bugzoo.learn.reading import said

GOOD_CHECK = """
import torch


def check(op, inputs):
    wrt = [x for x in inputs if x.is_floating_point() and x.requires_grad]
    y = op(*inputs)
    g, h = torch.randn_like(y), torch.randn_like(y)
    kept = [t.detach().clone() for t in (*inputs, g)]
    first = torch.autograd.grad(y, wrt, g, retain_graph=True, allow_unused=True)
    if any(d is None for d in first):
        return False
    copy = [d.clone() for d in first]
    if not all(torch.equal(a.detach(), b) for a, b in zip((*inputs, g), kept)):
        return False
    zero = torch.autograd.grad(y, wrt, torch.zeros_like(y), retain_graph=True)
    op(*[x.detach() * 2 for x in inputs])
    torch.autograd.grad(y, wrt, h, retain_graph=True)
    again = torch.autograd.grad(y, wrt, g, retain_graph=True)
    if not all(torch.equal(a, b) and torch.equal(b, c) for a, b, c in zip(first, copy, again)):
        return False
    wide = torch.randn(*y.shape[:-1], y.shape[-1] + 3, dtype=y.dtype)[..., 1:-2]
    for cotangent in (g, wide, g.mT.contiguous().mT, torch.ones_like(y)):
        moved = [torch.randn_like(x) for x in wrt]
        sides = []
        for s in (1e-5, -1e-5):
            step = iter(moved)
            sides.append(op(*[x.detach() + s * next(step) if x.requires_grad else x for x in inputs]))
        slope = ((sides[0] - sides[1]) / 2e-5 * cotangent).sum()
        dx = torch.autograd.grad(y, wrt, cotangent.clone(), retain_graph=True)
        mine = sum((d * u).sum() for d, u in zip(dx, moved))
        if not abs(slope - mine) < 3e-9 * (1 + abs(slope)):
            return False
    return True
"""


@pytest.fixture(scope="module")
def batch_mean():
    return pool.named("layer_norm/batch_mean")


def test_comments_are_taken_out_and_strings_stay():
    """A comment in a string is no comment."""
    assert text.bare('x = "# no"  # yes\n    # alone\ny = 1\n') == 'x = "# no"\ny = 1\n'


def test_the_formula_says_nothing_of_the_gradient(batch_mean):
    """The forward's equation is shown, that of dx is not."""
    said = text.formula(fix._doc(batch_mean.right.cls))

    assert "y  = (x - mean(x)) / std(x)" in said
    assert "dx =" not in said


def test_wrong_lines_of_a_change_and_of_a_gap():
    """A changed line is the answer; beside a gap both neighbours are."""
    right = "a\nb\nc\nd\n"

    assert text.wrong_lines(right, "a\nB\nc\nd\n") == (2,)
    assert text.wrong_lines(right, "a\nc\nd\n") == (1, 2)
    assert text.wrong_lines(right, "a\nb\nx\nc\nd\n") == (3,)


def test_a_code_is_the_same_in_another_process(batch_mean):
    """Codes depend on nothing but the program: not on hashes of this process."""
    code = (
        "from bugzoo.learn import pool; print(pool.named('layer_norm/batch_mean').code, "
        "pool.draw(7, op='softmax').code)"
    )
    run = [
        subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, env={"PYTHONHASHSEED": h, "PATH": ""}
            | {"PYTHONPATH": ":".join(sys.path)},
        ).stdout
        for h in ("1", "2")
    ]  # fmt: skip

    assert run[0] == run[1] == f"{batch_mean.code} {pool.draw(7, op='softmax').code}\n"


@pytest.mark.parametrize("op", ["softmax", "layer_norm", "plain_step"])
def test_nothing_that_is_shown_names_the_mistake(op):
    """Neither the text, nor the code, nor the class, nor a traceback says which twin it is."""
    for e in list(pool.exhibits(op))[:12]:
        words = {e.broken.cls.__name__, e.broken.id.partition("/")[2], e.broken.operator} - {
            "",
            e.name,
        }
        for word in words:
            assert word not in fix.source(e, 0)
        assert re.fullmatch(r"[A-Z]{2,4}-[0-9a-f]{6}", e.code)
        assert pool.resolve(e.code).shown == e.shown


def test_letters_are_unique_and_need_no_import():
    """Every operation and loop has letters of its own."""
    assert len(set(pool.letters().values())) == len(pool.letters()) == len(pool.ops())


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("LN-00000", "is no code"),
        ("LN-000000", "is not in this version"),
        ("QQ-123456", "no operation has the letters QQ"),
        ("../etc", "is no code"),
    ],
)
def test_a_wrong_code_is_told_what_to_do(code, said):
    """A code that leads nowhere gets a sentence with a remedy."""
    with pytest.raises(UserError, match=said) as told:
        pool.resolve(parse(code).code)

    assert "bugzoo learn" in str(told.value)


def test_the_right_program_solves_and_the_exhibit_does_not(batch_mean):
    """The report of the exhibit holds what the contract asks for; that of the right program nothing."""
    wrong = fix.check(batch_mean, 0, "backward.py", text=fix.source(batch_mean, 0))
    right = fix.check(batch_mean, 0, "backward.py", text=batch_mean.correct)

    assert right.solved and right.ops == (7, 7) and right.fresh == 3
    assert not wrong.solved and not wrong.regressions
    assert wrong.before == ("one_row", "summed_loss", "expanded")
    said = "\n".join(wrong.worst().words)
    assert "24 of 24 elements of dx are wrong" in said
    assert "first" in said and "worst" in said and "ratio" in said
    assert "on every row the error is a constant" in said
    assert "sum of dx over a row is 0 (broken" in said
    assert any(o.note == "every answer is 0 here" for o in wrong.outcomes)


def test_a_repair_that_breaks_another_case_is_told(batch_mean):
    """The cases that were right before and are wrong now are named."""
    worse = batch_mean.shown.replace("mean_gy) / std", "mean_gy)")

    assert set(fix.check(batch_mean, 0, "b.py", text=worse).regressions) == {"one_row"}


def test_the_shape_of_the_error_names_a_coefficient():
    """A sum for a mean: the coefficient of y is 6 times too large, 6 being the length of the row."""
    e = pool.named("layer_norm/batch_mean")
    wrong = e.correct.replace("(g * y).mean", "(g * y).sum")
    said = "\n".join(fix.check(e, 0, "b.py", text=wrong).worst().words)

    assert "a multiple of y, nothing else" in said
    assert "your coefficient of y is 6, the length of axis -1 times the expected one" in said
    assert "sum of dx over a row is 0 (kept)" in said


@pytest.mark.parametrize(
    ("edit", "said"),
    [
        (lambda t: -t, "the sign is wrong"),
        (lambda t: t / 4, "one over the length of axis -2"),
        (lambda t: t * 5, "the length of axis -1"),
        (lambda t: torch.zeros_like(t), "all zeros"),
        (lambda t: torch.cat([t[:1], 2 * t[1:2], t[2:]]), "only row 1"),
        (lambda t: t + 3, "the error is 3 on every row"),
    ],
)
def test_shapes_of_errors(edit, said):
    """Each familiar shape has its words."""
    true = torch.randn(4, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64)

    assert said in " ".join(shape.words(edit(true), true, {"1": torch.ones_like(true)}))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (("return (g", "return None if True else (g"), "None"),
        (("return (g", "return 1 / 0 or (g"), "ZeroDivisionError"),
        (
            ("return (g - mean_g - y * mean_gy) / std", "return ((g - mean_g) / std).sum()"),
            "it raises",
        ),
        (("y, std = ctx.saved_tensors", "y, std = ctx.saved_tensors\n        g.mul_(1.5)"), ""),
    ],
)
def test_structure_comes_before_values(batch_mean, change, said):
    """None, an exception, a wrong shape: said in words, with the learner's line where it raised."""
    found = fix.check(batch_mean, 0, "b.py", text=batch_mean.shown.replace(*change))
    words = "\n".join(found.worst().words)

    assert not found.solved and said in words
    if "raises" in words:
        assert found.crashed == all(o.raised for o in found.outcomes)
    if "Division" in said:
        assert "(line 17)" in words


def test_an_edit_outside_the_method_is_told(batch_mean):
    """What is beside the method of the exercise must stay as it is."""
    cheat = batch_mean.correct.replace(
        "ctx.save_for_backward(y, std)", "ctx.save_for_backward(y, std * 1)"
    )
    found = fix.check(batch_mean, 0, "b.py", text=cheat)

    assert not found.failed and not found.solved
    assert "differs from the exhibit in 'forward'; the mistake is in 'backward'" in found.remarks[0]


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("with torch.enable_grad():\n            x = y.detach().requires_grad_()\n"
         "            return torch.autograd.grad(x, x, g)[0]", "asks autograd for the answer"),
        ("return torch.func.vjp(lambda t: t, y)[1](g)[0]", "asks autograd"),
        ("return torch.ops.aten.native_layer_norm_backward(g, y, [6], y, std, None, None, [1, 0, 0])[0]",
         "asks autograd"),
    ],
)  # fmt: skip
def test_asking_autograd_for_the_answer_is_told(batch_mean, body, said):
    """The formula is asked for, unless the teacher allows otherwise."""
    shown = batch_mean.shown.replace("import Function", "import Function\nimport torch")
    cut = shown[: shown.index("        mean_g =")] + f"        {body}\n"

    assert said in program.asks_autograd(cut, batch_mean.shown)
    assert not program.asks_autograd(batch_mean.correct, batch_mean.shown)


def test_differences_of_the_forward_break_the_budget(batch_mean):
    """A backward by finite differences takes many times the operations of the formula."""
    costly = batch_mean.correct.replace(
        "        return (g - mean_g",
        "        for _ in range(60):\n            g = g * 1.0\n        return (g - mean_g",
    )

    assert "tensor operations" in fix.check(batch_mean, 0, "b.py", text=costly).remarks[0]


def test_a_program_that_never_ends_is_ended(batch_mean):
    """The time is up after the limit, in a sentence."""
    endless = batch_mean.shown.replace("mean_g = g.mean()", "while True: pass")
    found = fix.check(batch_mean, 0, "b.py", text=endless, limit=0.3)

    assert found.timed_out and found.crashed and "never ends" in found.worst().words[0]


def test_a_program_that_waits_is_ended_by_the_clock(batch_mean):
    """It uses no processor: three times the limit, and the sentence asks what it waits for."""
    waits = batch_mean.shown.replace("mean_g = g.mean()", "__import__('time').sleep(60)")
    begun = time.monotonic()
    found = fix.check(batch_mean, 0, "b.py", text=waits, limit=0.4)

    assert found.timed_out and "does it wait for something?" in found.worst().words[0]
    assert time.monotonic() - begun < 30


def test_tensors_are_called_as_in_the_program():
    """dq, dk, dv for forward(ctx, q, k, v); what is written into, and what is differentiated, by name."""
    one = pool.named("attention/scaled_query_saved")
    report = fix.check(one, 1, "b.py", text=one.shown)
    two = pool.named("swiglu/gradients_over_inputs")
    writes = find.look(two, 1, "uses").lines
    second = find.look(pool.named("gelu/slope_saved"), 1, "second").lines

    assert "elements of dk are wrong" in report.worst().words[0]
    assert [s.split(":")[0] for s in find.look(one, 1, "norm").lines] == ["dq", "dk", "dv"]
    assert "the input a, 20 of 20" in writes[0] and "the input b, 20 of 20" in writes[1]
    assert [s.split(":")[0][-4:] for s in second] == ["by x", "by g"]


@pytest.mark.parametrize("op", [o for o in pool.ops() if pool.kind_of(o) == "operation"])
def test_every_operation_has_a_name_for_each_gradient(op):
    """As many names as measured gradients, each of a parameter of its forward."""
    base = pool.right(op)
    made = job(base, base.truth.cases[0], 0)
    known = inspect.signature(base.cls.forward).parameters

    assert len(naming.gradients(made)) == len(leaves(made["inputs"]))
    assert all(n in known for n in naming.inputs(made))


@pytest.mark.parametrize("bad", ["def (", "x = 1\n", "raise ValueError('no')\n", "a\0b"])
def test_a_file_that_cannot_be_used_is_told(batch_mean, bad):
    """A file that does not parse, lost its class or raises: a sentence, and nothing is scored."""
    with pytest.raises(UserError):
        fix.check(batch_mean, 0, "b.py", text=bad)


@pytest.mark.parametrize(
    "step", [s for s in paths.STEPS if s.mode in ("find", "fix")], ids=lambda s: s.about
)
def test_every_step_of_the_path_can_be_solved(step):
    """The line is accepted, the right program passes, the exhibit does not."""
    e = pool.named(step.about)
    if step.mode == "find":
        given = find.answer(e, step.number, e.lines[0], e.family, [])
        assert given.right and e.family in find.kinds(e)
    else:
        assert fix.check(e, step.number, "b.py", text=e.correct).solved
        assert not fix.check(e, step.number, "b.py", text=fix.source(e, step.number)).solved
    assert 1 <= naive.level(e, step.number) <= 5


@pytest.mark.parametrize("step", paths.STEPS, ids=lambda s: f"{s.number}-{s.about}")
def test_every_step_has_the_address_of_a_real_bug(step):
    """It is said when the step is solved: the specimen's own, or what checks let pass."""
    found = explained.addresses(step)

    assert found and all(
        re.fullmatch(r"https://github\.com/[^/]+/[^/]+/(issues|pull)/\d+", a) for a in found
    )
    said = "\n".join(explained.taught(step))
    if step.mode in ("find", "fix"):
        said += "\n".join(explained.seen(pool.named(step.about)))
    assert "Learned:" in said and all(a in said for a in found)


def test_the_loss_shows_nothing_of_the_first_exercise(batch_mean):
    """The measured fact on which the first lesson stands: the two curves are the same to 1 %."""
    held = Bench.of(batch_mean, 1)
    ours = instruments._loss(held, find._kind(batch_mean))
    right = instruments._loss(held, batch_mean.right.cls)

    assert ours.lines[1] == right.lines[1]
    assert not ours.differs(right)


def test_a_wrong_answer_is_refuted_by_what_was_measured(batch_mean):
    """Every known way to break the named line contradicts the reading; without one nothing could."""
    with_reading = find.answer(batch_mean, 0, 17, "scaling", ["loss", "sums"])
    without = find.answer(batch_mean, 0, 17, "", [])

    assert not with_reading.right
    assert "your readings rule out all" in with_reading.words[0]
    assert "sums: sum of" in with_reading.words[1] and "you measured" in with_reading.words[1]
    assert "Look before you answer" in without.words[0]


def test_neighbouring_kinds_are_no_quarrel(batch_mean):
    """A mean over the wrong axes is a wrong formula and a wrong reduction; it is no layout."""
    assert find.answer(batch_mean, 0, 15, "missing-reduction", []).right
    wrong = find.answer(batch_mean, 0, 15, "layout-stride", [])
    assert wrong.line_right and not wrong.right


def test_instruments_tell_the_exhibit_from_the_right_program():
    """An in-place write is seen by `uses` alone, a wrong value by `norm`."""
    writes = pool.named("relu/writes_into_cotangent")
    held = Bench.of(writes, 0)
    listed = instruments.listed(held)
    kind, right = find._kind(writes), writes.right.cls

    assert listed["uses"].read(held, kind).differs(listed["uses"].read(held, right))
    assert not listed["norm"].read(held, kind).differs(listed["norm"].read(held, right))


def test_loops_have_instruments_of_their_own():
    """A missing zero_grad: the second step is the first that is wrong; a kept graph leaves bytes."""
    never = pool.named("plain_step/never_zeroed")
    kept = pool.named("logged_step/total_keeps_graphs")

    assert "step 2" in "\n".join(find.look(never, 0, "settings").lines)
    assert find.look(kept, 0, "memory").values["bytes left by each step"] > 64


def test_points_fall_with_what_was_bought():
    """Prices once each, 15 for a wrong answer, the hints' prices; never below 10."""
    assert find.points(["sums", "sums"], 1, 1, {"sums": 10}) == 100 - 10 - 15 - 10
    assert find.points([], 9, 4, {}) == 10


def test_hints_climb_from_where_to_what(batch_mean):
    """An instrument, a question, the line, the lines shuffled with the right one among them."""
    one, two, three, four = (hints.rung(batch_mean, 0, "find", n) for n in (1, 2, 3, 4))

    assert "Measure `" in one[0]
    assert two[0].endswith("?")
    assert "15  mean_g = g.mean()" in three[1]
    assert any("mean_g = g.mean(-1, keepdim=True)" in line for line in four)


def test_a_weak_check_and_a_good_one():
    """The template catches little; a random cotangent, used twice, catches everything, without alarm."""
    weak = detect.score(
        "layer_norm", 41, "check.py", text=detect.template("layer_norm", "LN-all-41")
    )
    good = detect.score("layer_norm", 41, "check.py", text=GOOD_CHECK)

    assert (
        weak.caught < 5 and not weak.false_alarms and "Your g was all ones" in " ".join(weak.story)
    )
    assert good.solved, (good.caught, good.false_alarms, good.story)


ONE_DIRECTION = """
import torch


def check(op, inputs):
    wrt = [x for x in inputs if x.is_floating_point() and x.requires_grad]
    y = op(*inputs)
    g = torch.randn_like(y)
    d = torch.autograd.grad(y, wrt, g, allow_unused=True)
    u = [torch.randn_like(x) for x in wrt]
    up, down = (op(*[x.detach() + h * v for x, v in zip(wrt, u)]) for h in (1e-4, -1e-4))
    told = sum((a * b).sum() for a, b in zip(d, u) if a is not None)
    seen = ((up - down) * g).sum() / 2e-4
    return bool((told - seen).abs() <= 1e-3 * seen.abs().clamp(min=1e-2))
"""


def test_the_survivor_that_is_shown_teaches_something():
    """Precision comes last; where all cotangents were ones, one that ones cannot show."""
    template = detect.template("softmax", "SO-all-10")
    sums = detect.score("softmax", 10, "c.py", text=template)
    listed = detect.subjects("softmax", 10)
    twins = [s.wrong for s in listed if s.wrong is not None]
    rounded = [e for e in twins if e.family == "dtype-precision"]
    writes = next(e for e in twins if e.broken.label.channel == "side_effect")

    assert "you compared 0 with 0" in " ".join(sums.story) and "more like it" in sums.story[0]
    assert len(rounded) > 1
    assert survivor.instructive([*rounded, writes], listed, None) == (writes, 0)
    assert survivor.instructive(rounded, listed, None)[0] in rounded  # there is nothing else


def test_a_survivor_that_breaks_the_protocol_is_told_as_measured():
    """Not a list of what it might be: who is written into, in which case."""
    found = detect.score("softmax", 10, "c.py", text=ONE_DIRECTION)
    listed = [s.wrong for s in detect.subjects("softmax", 10) if s.wrong is not None]
    one = next(e for e in listed if e.broken.label.channel == "contract")

    assert one.code in [e.code for e in found.survivors]
    assert "the pass writes into the output y" in survivor.protocol(one)


@pytest.mark.parametrize(("op", "seed"), [("softmax", 10), ("softmax", 29), ("layer_norm", 5)])
def test_no_broken_program_comes_twice(op, seed):
    """A twin written by hand and a mutant may be the same program: it is one exercise."""
    codes = [s.wrong.code for s in detect.subjects(op, seed) if s.wrong is not None]

    assert len(codes) == len(set(codes)) == detect.TWINS


def test_what_detect_drew_is_explained(tmp_path):
    """Each program that the check let pass: line, right line, the inputs that separate it; then the rest."""
    exercise = parse("LN-all-5")
    file = tmp_path / "check.py"
    file.write_text(ONE_DIRECTION)
    told = "\n".join(explained.detected(exercise, file))
    file.write_text("def (")
    blind = "\n".join(explained.detected(exercise, file))

    assert "Your check lets" in told and "of 15 broken programs pass" in told
    assert "reads      " in told and "should be  " in told
    assert "wrong in rows" in told and "right in" in told
    listed = [s.wrong for s in detect.subjects("layer_norm", 5) if s.wrong is not None]
    assert all(e.code in told and e.code in blind for e in listed)
    assert "   caught" in told and "caught" not in blind and "could not be tried" in blind
    assert all(len(line) <= 78 for line in [*told.splitlines(), *blind.splitlines()])


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("return None", "returned None"),
        ("raise RuntimeError('mine')", "RuntimeError: mine"),
        ("while True: pass", "did not return"),
    ],
)
def test_a_check_that_cannot_be_scored_is_told(body, said):
    """On a right program a check must return, and say True or False."""
    found = detect.score(
        "softmax", 1, "c.py", text=f"def check(op, inputs):\n    {body}\n", limit=1.0
    )

    assert said in found.error and not found.solved


def test_a_check_that_suspects_everything_scores_nothing():
    """Catching all by calling everything wrong is worth 0."""
    found = detect.score("softmax", 1, "c.py", text="def check(op, inputs):\n    return False\n")

    assert found.caught == found.twins and found.points == 0.0


def test_what_a_check_gets_has_no_name_and_no_source():
    """Nothing that a check can ask of `op` tells which program it is."""
    spy = (
        "import inspect\nseen = set()\ndef check(op, inputs):\n"
        "    try:\n        inspect.getsource(op._run(*inputs).grad_fn.__class__)\n"
        "        return False\n    except (OSError, TypeError):\n        pass\n"
        "    return 'Subject' in type(op(*inputs).grad_fn).__name__ and not hasattr(op, '__dict__')\n"
    )
    found = detect.score("softmax", 1, "c.py", text=spy)

    assert found.caught == 0 and found.false_alarms == 0


def test_a_planted_bug_is_scored_and_adopted(tmp_path):
    """Harmless: nothing. Loud: nothing. Hidden behind a shape: missed by most, and a specimen file."""
    from bugzoo import catalog
    from bugzoo.cli.learn import _common
    from bugzoo.oracle.claims import claims

    file = tmp_path / "backward.py"
    right = plant.template("softmax", "SO-own-1")
    detectors = _common.detectors(plant.CHECKS)
    cases = {
        "harmless": right.replace("return gy -", "return 1 * gy -"),
        "loud": right.replace("return gy -", "return 1 / 0 * gy -"),
        "hidden": right.replace("        return gy", "        g.mul_(1.5)\n        return gy", 1),
    }
    found = {}
    for name, body in cases.items():
        file.write_text(body)
        found[name] = plant.check("softmax", 1, file, detectors)

    assert "nothing is planted" in found["harmless"].remark
    assert "nobody overlooks" in found["loud"].remark
    assert found["hidden"].solved, (found["hidden"].caught, found["hidden"].missed)
    told = "\n".join(explained.hidden(parse("SO-own-1"), file, detectors))
    assert "added      g.mul_(1.5)" in told and "wrong in" in told
    assert "the pass writes into the cotangent g" in told and "checks miss it" in told
    adopted = tmp_path / "planted_softmax.py"
    adopted.write_text(plant.adopted("softmax", file, "Doubled"))
    zoo = catalog.load([adopted])
    made = zoo.specimens["planted_softmax/doubled"]
    assert not zoo.problems and all(c.holds for c in claims(made))


def test_levels_are_measured(batch_mean):
    """Four naive checks miss the first exercise; a lost sign is missed by none that looks at values."""
    easy = pool.named("sigmoid/input_saved")

    assert naive.misses(batch_mean) == ("loss", "one_index", "summed", "one_row")
    assert naive.level(batch_mean) == 5 > naive.level(easy)


def test_a_draw_keeps_to_its_wishes():
    """Operation, family, and the same exercise for the same seed."""
    one = pool.draw(5, op="softmax", family="scaling")

    assert (one.op, one.family) == ("softmax", "scaling")
    assert one.code == pool.draw(5, op="softmax", family="scaling").code
    assert Exercise("find", one.code) == parse(one.code)
    with pytest.raises(UserError, match="no exercise is like that"):
        pool.draw(5, op="softmax", family="distributed")


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(6))
def test_messages_can_be_made_for_any_mutant(seed):
    """Any exhibit can be looked at, hinted at, repaired by the right program."""
    op = random.Random(seed).choice(
        ["softmax", "attention", "rms_norm", "embedding", "gelu", "accumulation"]
    )
    e = pool.draw(seed, op=op, kind=pool.kind_of(op))
    held = fix.bench(e, seed)
    for name in instruments.listed(held):
        assert find.look(e, seed, name).lines
    for n in (1, 2, 3, 4):
        assert hints.rung(e, seed, "find", n)
    assert fix.check(e, seed, "b.py", text=e.correct).solved
    assert all(o.ok for o in examine(held, fix.measured(held, e.right.cls)))


def test_an_import_is_no_answer_and_is_not_shown_as_one():
    """A mistake that needs an import is at its own line; constants beside the class are shown."""
    leaf = pool.named("plain_step/loss_from_number")
    assert [leaf.shown.splitlines()[n - 1].strip()[:12] for n in leaf.lines] == ["loss = torch"]
    assert not any("import" in line for line in views.difference(leaf))
    shown = "\n".join(text.code_lines(pool.named("rms_norm/keepdim_forgotten").shown))
    assert "BLOCK = 4" in shown and "import" not in shown


def test_what_is_missing_or_moved_is_said_so():
    """A gap is no wrong line; a line in the wrong place is right in itself."""
    zeroed, moved = (
        pool.named(n) for n in ("plain_step/never_zeroed", "loss_scale/clipped_before_unscaled")
    )
    assert "missing here" in hints.rung(zeroed, 0, "find", 3)[0]
    assert views.difference(zeroed) == ["   missing    self.optimizer.zero_grad()"]
    assert "belongs behind" in hints.rung(moved, 0, "fix", 4)[0]
    said = "\n".join(views.difference(moved))
    assert "misplaced" in said and "belongs behind" in said and "should be" not in said


def test_the_first_hint_names_a_reading_that_shows_the_fault():
    """Not one that reads 0 here as for the right program, and 'again' where it was bought."""
    leak = pool.named("logged_step/total_keeps_graphs")
    assert "`memory`" in hints.rung(leak, 0, "find", 1)[0]
    assert hints.rung(leak, 0, "find", 1, ["memory"])[0].startswith("Look again at")


def test_a_refutation_speaks_as_the_screen_does():
    """'never' and 'none', not the numbers that stand for them."""
    assert said("first wrong step in sgd", 0.0) == "never"
    assert said("gradient of 0.bias after step 1", -1.0) == "none"
    assert said("error in rows", float("inf")) == "a failure"
    rms = pool.named("rms_norm/keepdim_forgotten")
    words = " ".join(find.refuted(rms, 6, 25, ["ones"]))
    assert "it would not raise, yours does" in words and "inf" not in words


def test_every_line_of_a_report_fits_and_none_loses_its_ratio():
    """Long names of parameters and cases: the number goes below, nothing is cut."""
    for about in (
        "loss_scale/clipped_before_unscaled",
        "accumulation/not_divided",
        "watched/look_writes_gradient",
    ):
        e = pool.named(about)
        lines = views.report(fix.check(e, 1, "f.py", text=fix.source(e, 1)), 0.1)
        assert all(len(s) <= 78 for s in lines)
        assert "..." not in "".join(lines) and "times as far" in "".join(lines)
    for about in ("cross_entropy/always_divided", "watched/look_writes_gradient"):
        formula = views.formula(pool.named(about).op)
        assert all(len(s) <= 78 and not s.endswith("...") for s in formula)


@pytest.mark.parametrize("call", ["raise SystemExit", "__import__('os')._exit(3)"])
def test_a_program_that_ends_the_check_gets_a_sentence(batch_mean, call):
    """Not a silent exit."""
    broken = fix.source(batch_mean, 0).replace("mean_g = g.mean()", call)
    with pytest.raises(UserError, match="ends the whole program"):
        fix.check(batch_mean, 0, "f.py", text=broken)
