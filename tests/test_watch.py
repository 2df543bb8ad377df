"""`bugzoo.watch`: broken loops are named, right ones pass, and nothing is left behind."""

import gc
import json
import subprocess
import sys
import weakref
from pathlib import Path

import pytest
import torch
import watched_more
import watched_programs as programs
from torch import nn
from torch.nn.modules import module as module_hooks

import bugzoo
from bugzoo.errors import UserError
from bugzoo.watcher.ledger import Ledger
from bugzoo.watcher.lines import Line
from bugzoo.watcher.samples import Samples, compare, pick
from bugzoo.watcher.watch import Watch

ROOT = Path(__file__).parent.parent
optimizers_module = sys.modules["torch.optim.optimizer"]
LOUD = {  # what torch itself has to say about these programs
    "checkpoint_of_an_input_without_grad": "None of the inputs have requires_grad",
    "optimizer_stepped_before_the_first_epoch": "",
}
watched = programs.watched


@pytest.mark.filterwarnings("ignore:None of the inputs have requires_grad")
@pytest.mark.parametrize("name", programs.BROKEN)
def test_the_broken_one_is_named(name):
    """The first finding says what is wrong, and from which step on."""
    program, words = programs.BROKEN[name]
    log = watched(program)

    assert not log.ok
    assert all(word in str(log).replace("\n    ", " ") for word in words), str(log)
    assert log.findings[0].step is not None
    assert not any(note.kind == "skipped" for note in log.notes)


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize("name", programs.RIGHT)
def test_the_right_one_passes(name, seed):
    """No finding, and the watch itself did not fail."""
    log = watched(programs.RIGHT[name], seed)

    assert log.ok, str(log)
    assert not any("failed" in note.what for note in log.notes), str(log)
    assert log.steps


@pytest.mark.parametrize(
    ("name", "line", "parameter"),
    [
        ("zero_grad_missing", "o.step()", "0.weight"),
        ("clipped_after_the_step", "clip_grad_norm_", "0.weight"),
        ("zero_grad_after_backward", "o.zero_grad()", ""),
        ("loss_from_a_number", "loss.backward()", ""),
        ("running_total_of_losses", "total.backward", "0.weight"),
        ("root_of_zero", "o.step()", "0.bias"),
    ],
)
def test_line_and_parameter_are_named(name, line, parameter):
    """The line is the user's, and it holds the call that is to blame."""
    found = watched(programs.BROKEN[name][0]).findings[0]
    file, _, number = found.line.partition(":")
    text = (ROOT / "tests" / file).read_text().splitlines()[int(number) - 1]

    assert line in text
    assert parameter in found.where


def test_what_depends_on_intent_is_a_note_with_numbers():
    """Undivided and unequal micro-batches, momentum by hand, idle heads."""
    undivided, unequal, momentum, idle = (
        " ".join(note.what for note in watched(programs.RIGHT[name]).notes)
        for name in ("accumulation_not_divided", "accumulation_unequal", "momentum_by_hand_in_grad",
                     "head_under_a_flag")
    )  # fmt: skip

    assert "3 backwards of a mean loss add up to a weight of 3" in undivided
    assert "8, 3, 1 elements weigh 8 to 1" in unequal
    assert "scaled by 0.9" in momentum
    assert "two.weight" in idle


def test_the_loss_scale_is_no_weight_of_a_micro_batch():
    """A mean of two that goes through a GradScaler weighs 1, not 1024."""
    assert not watched(programs.RIGHT["scaled_windows_that_are_divided"]).notes


def test_a_hook_on_a_module_names_a_module():
    """In a Sequential its name is a number, which reads as a count."""
    (found,) = watched(watched_more.module_hooks_pile_up).findings

    assert found.where == "module 2"


@pytest.mark.parametrize("name", watched_more.NOTED)
def test_what_only_the_author_can_judge_is_a_note(name):
    """Left-over windows, two points, shared memory, gradients that vanish: a word, no alarm."""
    program, words, _ = watched_more.NOTED[name]
    said = [" ".join(note.what.split()) for note in watched(program).notes]

    assert any(words in what for what in said), said


def test_the_step_and_the_line_of_what_is_kept_are_named():
    """A list that grows from step 20 on: the step, the variable and the line that made the loss."""

    def program():
        model = programs.net()
        o = torch.optim.SGD(model.parameters(), lr=0.05)
        yield model, o
        losses = []
        for n, (x, y) in enumerate(programs.batches(40)):
            loss = nn.functional.cross_entropy(model(x), y)
            o.zero_grad()
            loss.backward()
            o.step()
            if n >= 19:
                losses.append(loss)

    (found,) = watched(program).findings

    assert found.channel == "memory"
    assert found.step == 20
    assert "'losses'" in found.cause or "list of" in found.cause


def test_a_replaced_layer_is_reported_from_its_first_step_on():
    """The new layer came at step 6, and it is step 6 that is named."""
    (found,) = watched(watched_more.layer_replaced_at_step_6).findings

    assert found.step == 6


def test_models_and_optimizers_are_called_what_the_user_calls_them():
    """Variables where there are some, entries of a list else; in a single model the plain path."""
    generator, critic = nn.Linear(2, 2), nn.Linear(2, 1)
    og = torch.optim.SGD(generator.parameters(), lr=0.1)
    od = torch.optim.SGD(critic.parameters(), lr=0.1)
    with bugzoo.watch([generator, critic], [og, od]) as log:
        for _ in range(4):
            critic(generator(torch.randn(4, 2))).square().mean().backward()
            og.step()
            od.step()

    text = str(log)
    assert "generator.weight" in text and "critic.weight" in text
    assert "SGD (og)" in text and "SGD (od)" in text


def test_first_step_and_number_of_steps_are_counted():
    """A finding is said once: from step 2 on, five times."""
    (found,) = watched(programs.BROKEN["zero_grad_missing"][0]).findings

    assert (found.step, found.times) == (2, programs.STEPS - 1)
    assert "step 2 and 4 more" in str(found)


# -- nothing is left behind


def state_of_torch():
    return (
        len(optimizers_module._global_optimizer_pre_hooks),
        len(optimizers_module._global_optimizer_post_hooks),
        len(module_hooks._global_forward_hooks),
        len(module_hooks._global_forward_pre_hooks),
        torch.overrides._len_torch_function_stack(),
    )


def hooks_of(model):
    return [
        p for p in model.parameters() if p._backward_hooks or p._post_accumulate_grad_hooks
    ]  # fmt: skip


def small():
    model = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 2))
    return model, torch.optim.SGD(model.parameters(), lr=0.1)


def step(model, optimizer, x):
    optimizer.zero_grad()
    loss = model(x).square().mean()
    loss.backward()
    optimizer.step()
    return loss


def test_every_hook_is_gone_when_the_context_ends():
    """Global hooks, hooks on parameters, the function mode; the same after an exception."""
    model, optimizer = small()
    before = state_of_torch()
    with bugzoo.watch(model, optimizer):
        step(model, optimizer, torch.ones(3, 4))
        assert state_of_torch() != before and hooks_of(model)

    assert state_of_torch() == before and not hooks_of(model)
    with pytest.raises(ZeroDivisionError), bugzoo.watch(model, optimizer) as log:
        step(model, optimizer, torch.ones(3, 4))
        _ = 1 / 0

    assert state_of_torch() == before and not hooks_of(model)
    assert log.steps == 1


def test_the_loop_is_the_same_to_the_last_bit():
    """Parameters, random state and flags are what they are without the watch."""
    ends = []
    for watching in (False, True):
        with torch.random.fork_rng():
            torch.manual_seed(3)
            model, optimizer = small()
            model.insert(1, nn.Dropout(0.5))
            context = bugzoo.watch(model, optimizer) if watching else torch.enable_grad()
            with context:
                for _ in range(5):
                    step(model, optimizer, torch.randn(3, 4))
            ends.append([*(p.detach().clone() for p in model.parameters()), torch.rand(2)])

    assert all(map(torch.equal, *ends))


class Token:
    pass


def test_no_tensor_and_no_graph_is_kept_alive():
    """Inputs, losses, gradients and graphs die when the loop lets go of them."""
    model, optimizer = small()
    with bugzoo.watch(model, optimizer):
        for _ in range(4):
            x = torch.ones(3, 4)
            loss = step(model, optimizer, x)
            token = loss.grad_fn.metadata["token"] = Token()  # lives as long as the node
            refs = [weakref.ref(t) for t in (x, loss, model[0].weight.grad, token)]
            del x, loss, token
            optimizer.zero_grad()

            assert [r() for r in refs] == [None] * 4


def test_models_and_optimizers_die_while_watched():
    """Only weak references are held."""
    model, optimizer = small()
    with bugzoo.watch(model, optimizer):
        step(model, optimizer, torch.ones(3, 4))
        refs = weakref.ref(model), weakref.ref(optimizer), weakref.ref(model[0].weight)
        del model, optimizer
        gc.collect()

        assert [r() for r in refs] == [None] * 3


def test_autograd_still_checks_saved_tensors():
    """An edit that autograd sees raises as it does without the watch: its check is not switched off."""
    model, optimizer = small()
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):  # noqa: SIM117
        with bugzoo.watch(model, optimizer):
            h = model[1](model[0](torch.ones(3, 4)))
            h.mul_(2)
            h.sum().backward()


def test_a_mistake_of_ours_does_not_stop_the_loop(monkeypatch):
    """It becomes a note, and the loop trains on."""
    model, optimizer = small()
    with bugzoo.watch(model, optimizer) as log:
        monkeypatch.setattr(Watch, "_uses", lambda *a: 1 / 0)
        for _ in range(3):
            step(model, optimizer, torch.ones(3, 4))

    (note,) = log.notes
    assert "the watch itself failed" in note.what and "ZeroDivisionError" in note.what


def test_hooks_and_modes_of_the_user_stay():
    """A mode that the user entered before is in force inside, and hooks of the user's are kept."""
    model, optimizer = small()
    seen = []
    optimizer.register_step_post_hook(lambda *_: seen.append(1))
    with torch.device("cpu"), bugzoo.watch(model, optimizer):
        with torch.device("meta"):
            assert torch.ones(1).is_meta
        step(model, optimizer, torch.ones(3, 4))

    assert seen == [1]


# -- what is returned


@pytest.mark.filterwarnings("ignore:.torch.jit.script:DeprecationWarning")  # torch's own
def test_modules_under_function_transforms_run_as_ever():
    """Inside vmap and jacrev tensors have no memory to look at; the steps around them are watched."""
    model = nn.Linear(3, 2)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with bugzoo.watch(model, optimizer) as log:
        for _ in range(4):
            x = torch.randn(5, 3)
            optimizer.zero_grad()
            torch.func.vmap(model)(x)
            torch.func.jacrev(model)(x[0])
            torch.func.hessian(lambda v: model(v).square().sum())(x[0])
            model(x).square().mean().backward()
            optimizer.step()

    assert log.ok and log.steps == 4, str(log)
    assert not log.notes, str(log)


def test_what_is_met_on_the_way_is_counted_once():
    """Without names: the first step of an optimizer just met is no update by hand."""
    model = nn.Linear(3, 2)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with Watch([], [], discover=True) as log:
        for _ in range(5):
            optimizer.zero_grad()
            model(torch.randn(5, 3)).square().mean().backward()
            optimizer.step()

    assert [r["step"] for r in log.records] == [1, 2, 3, 4, 5]


def test_the_norm_of_a_large_gradient_is_that_of_a_part(monkeypatch):
    """Between close looks; the whole is read where the part says something unusual."""
    from bugzoo.watcher import norms

    monkeypatch.setattr(norms, "LARGE", 64)
    model = nn.Linear(64, 32, bias=False)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.0)
    true = []
    with bugzoo.watch(model, optimizer) as log:
        for n in range(16):
            optimizer.zero_grad()
            weight = torch.ones(32)
            if n == 8:  # all but two rows of the gradient are zero
                weight[2:] = 0.0
            if n == 9:
                weight[7] = torch.nan
            (model(torch.randn(16, 64)) * weight).square().mean().backward()
            true.append(model.weight.grad.norm().item())
            optimizer.step()

    seen = [r["norm"] for r in log.records]
    assert seen[8] == pytest.approx(true[8], rel=1e-5)
    for n in (0, 1, 2, 3, 7):
        assert seen[n] == pytest.approx(true[n], rel=1e-5)
    assert seen[4:7] == pytest.approx(true[4:7], rel=0.5) and seen[4:7] != true[4:7]
    assert seen[11] != seen[11]  # after an output that is NaN all is read


def test_the_log_reads_well():
    """Text of 80 columns, frames, HTML, JSON; readable while the loop still runs."""
    log = watched(programs.BROKEN["losses_in_a_list"][0])
    right = watched(programs.RIGHT["gan"])

    assert all(len(line) <= 80 for line in f"{log}\n{right}".splitlines())
    assert "a list of" in str(log) and "bytes a step" in str(log).replace("\n    ", " ")
    assert log.to_frame().loc[0, "channel"] == "memory"
    assert list(right.steps_frame()["step"]) == [n for n in range(1, 7) for _ in "ab"]
    assert right.steps_frame()["norm"].gt(0).all()
    assert "no defect in 12 steps" in right._repr_html_()
    json.dumps(log.to_dict(), default=str)


def test_every_looks_less_often():
    """With every=3 norms are taken of each third step; the ledger misses nothing."""
    log = watched(programs.BROKEN["zero_grad_missing"][0], every=3)

    assert log.findings[0].times == programs.STEPS - 1


@pytest.mark.parametrize(
    ("models", "optimizers", "words"),
    [
        ("net", [], "models is a str"),
        ([], [], "models is empty"),
        (nn.Linear(1, 1), "sgd", "optimizers is a str"),
        (nn.Linear(1, 1), [nn.Linear(1, 1)], "optimizers holds a Linear"),
        (nn.Linear(1, 1).parameters(), [], "models holds a Parameter"),
    ],
)
def test_a_wrong_argument_is_one_message(models, optimizers, words):
    """What was given, what is expected."""
    with pytest.raises(UserError, match=words):
        bugzoo.watch(models, optimizers)


# -- parts


def test_the_ledger_spends_each_contribution_once():
    """Two backwards, two spenders, a clear in between: pure bookkeeping, without torch."""
    ledger, here, there = Ledger(), Line("a:1", (("a", 1),)), Line("a:2", (("a", 2),))
    ledger.begin(1, here)
    ledger.arrive("w", 1)
    assert ledger.spend("sgd", ["w"]) == []
    assert [f.kind for f in ledger.spend("sgd", ["w"])] == ["stale"]
    ledger.begin(2, there)
    ledger.arrive("w", 2)
    assert [f.kind for f in ledger.spend("sgd", ["w"])] == ["survived"]
    ledger.clear("w")
    ledger.begin(3, here)
    ledger.arrive("w", 3)
    ledger.clear("w")

    assert ledger.tasks[3].wasted and not ledger.tasks[2].wasted


def test_samples_tell_what_was_done():
    """Zeroed, scaled, written anew; a sample of a matrix crosses its columns."""
    before = [1.0, -2.0, 3.0]

    assert compare(before, [0.0] * 3, 1e-7) == ("zero", 0.0)
    assert compare(before, [0.5, -1.0, 1.5], 1e-7) == ("scaled", 0.5)
    assert compare(before, [1.0, -2.0, 4.0], 1e-7)[0] == "other"
    grid = torch.arange(64.0 * 64).reshape(64, 64)
    assert len({int(v) % 64 for v in pick(grid)}) > 16
    assert pick(grid.T[::2]).numel() == 32
    store = Samples()
    (first,), (second,) = store.add([torch.ones(2)]), store.add([torch.zeros(3).double()])
    store.read()
    assert (store[first], store[second]) == ([1.0, 1.0], [0.0, 0.0, 0.0])


def test_a_rule_that_is_not_kept_is_found(monkeypatch):
    """The update of plain SGD, tampered with inside of torch."""
    model, optimizer = small()
    sgd = sys.modules["torch.optim.sgd"]
    right = sgd.sgd

    def halved(*args, **kwargs):
        right(*args, **kwargs | {"lr": kwargs["lr"] / 2})

    monkeypatch.setattr(sgd, "sgd", halved)
    with bugzoo.watch(model, optimizer) as log:
        step(model, optimizer, torch.ones(3, 4))

    (found,) = log.findings
    assert "the rule of SGD" in found.what
    assert found.yours == pytest.approx(found.true / 2, rel=1e-3)


# -- the command


def run(tmp_path, code, *args):
    file = tmp_path / "train.py"
    if code is not None:
        file.write_text(code)
    return subprocess.run(
        [sys.executable, "-m", "bugzoo.cli", "watch", *args[:1], str(file), *args[1:]],
        capture_output=True, text=True, check=False, cwd=tmp_path,
        env={"PYTHONPATH": str(ROOT), "PATH": "", "OMP_NUM_THREADS": "1"},
    )  # fmt: skip


SCRIPT = """
import sys
import torch
from torch import nn

def main(rate):
    model = nn.Linear(4, 2)
    optimizer = torch.optim.AdamW(model.parameters(), lr=rate)
    for _ in range(5):
        {zero}
        model(torch.ones(3, 4)).square().mean().backward()
        optimizer.step()

if __name__ == "__main__":
    main(float(sys.argv[2]))
    print("trained with", sys.argv[1:])
"""


def test_a_script_runs_unchanged(tmp_path):
    """As `__main__`, with its own arguments; the wrong one is named, the right one passes."""
    right = run(tmp_path, SCRIPT.format(zero="optimizer.zero_grad()"), "--every=1", "--lr", "0.1")
    wrong = run(tmp_path, SCRIPT.format(zero=""), "--every=1", "--lr", "0.1")

    assert right.returncode == 0, right.stderr
    assert "trained with ['--lr', '0.1']" in right.stdout
    assert "ok: no defect in 5 steps" in right.stdout
    assert wrong.returncode == 1
    assert "survive a step of AdamW" in wrong.stdout and "train.py:12" in wrong.stdout


@pytest.mark.parametrize(
    ("code", "message"),
    [
        (None, "there is no file"),
        ("import sys; sys.exit(3)", "exits with 3 after 0 steps"),
        ("print('nothing')", "never steps"),
        ("def f(:", "is no Python"),
        ("def f():\n    1 / 0\nf()", "raises ZeroDivisionError after 0 steps"),
    ],
)
def test_a_script_that_is_no_good_is_one_message(tmp_path, code, message):
    """Missing, failing, never stepping: exit code 2; no frame of ours in its traceback."""
    done = run(tmp_path, code, "--every=1")

    assert done.returncode == 2
    assert message in done.stderr
    assert "runpy" not in done.stderr and "watcher" not in done.stderr
