"""Classes are kept apart, and the truth about known mutants is told."""

import threading
import time
from dataclasses import replace

import pytest
import torch

from bugzoo import source
from bugzoo.mutation.bench import Bench
from bugzoo.mutation.breed import by_name, mutants
from bugzoo.mutation.classify import classify
from bugzoo.mutation.deadline import Overdue, deadline
from bugzoo.oracle.judge import judge

BENCHES = {}


def bench(zoo, name):
    if name not in BENCHES:
        BENCHES[name] = Bench(zoo.specimens[name])
    return BENCHES[name]


def mutant(zoo, name, operator, after=""):
    """The class of the mutant of this operator; `after`: the one whose new lines are these."""
    made = mutants(bench(zoo, name).text, operators=by_name([operator]))
    (chosen,) = [m for m in made if not after or m.after == after]
    return classify(chosen, bench(zoo, name))


@pytest.mark.parametrize(
    "name",
    [
        "attention/attention", "batch_norm/batch_norm", "cross_entropy/cross_entropy",
        "linear/linear", "power/power", "relu/relu", "softmax/softmax", "value/value",
        "accumulation/accumulation", "plain_step/plain_step", "two_heads/two_heads",
        "unseeded_dropout/unseeded_dropout", "own_scratch/own_scratch",
    ],
)  # fmt: skip
def test_the_right_text_is_equivalent(zoo, name):
    """On all cases, and in the regimes beyond them."""
    found = classify(bench(zoo, name).text, bench(zoo, name))

    assert (found.kind, found.awake, found.raises, found.witnesses) == ("equivalent", {}, (), ())
    assert found.words == f"equal on {found.probes} probes"


def test_a_forgotten_transpose_raises_for_some_shapes_and_is_silent_for_others(zoo):
    """g w for g w': a layer that changes the width raises, a square one is wrong."""
    found = mutant(zoo, "linear/linear", "drop_transpose", "dx = g @ w")

    assert found.kind == "raises_sometimes" and found.silent
    assert "tall" in found.raises
    assert found.awake["square"] == ("value",)
    assert "symmetric_weight" not in found.awake


def test_an_ignored_cotangent_sleeps_under_a_summed_loss(zoo):
    """With g = 1 everywhere the local derivative is the gradient."""
    found = mutant(zoo, "sigmoid/sigmoid", "ignore_cotangent")

    assert found.kind == "awake"
    assert "value" in found.awake["plain"]
    assert "summed_loss" not in found.awake


def test_the_engine_masks_a_dropped_reduction(zoo):
    """It sums the returned gradient to the shape of the bias."""
    found = mutant(zoo, "linear/linear", "drop_reduction", "db = g")

    assert found.kind == "masked_by_engine"
    assert found.words == "gradient 2 returned is 5x2 float64, expected 2 float64"


def test_the_mask_at_zero_is_a_convention(zoo):
    """`>` or `>=`: both are subgradients, and only at zeros do they differ."""
    found = mutant(zoo, "relu/relu", "compare_boundary")

    assert found.kind == "convention"
    assert set(found.awake) <= {"+zeros", "+rounded", "+alike"}
    assert not found.silent


def test_nan_at_a_boundary_is_no_convention(zoo):
    """0 * log(0) is NaN: not a subgradient."""
    assert mutant(zoo, "power/power", "compare_boundary").kind == "awake"


def test_writing_into_the_cotangent_is_a_side_effect(zoo):
    """The gradient itself is right."""
    found = mutant(zoo, "relu/relu", "inplace_cotangent")

    assert "side_effect" in found.awake["plain"]
    assert "value" not in found.awake["plain"]
    witness = next(w for _, w in found.witnesses if w.channel == "side_effect")
    assert "changed cotangent 0" in witness.words


def test_writing_into_a_saved_tensor_is_a_side_effect(zoo):
    """That a second backward then raises does not make it loud: the first one corrupts the weight."""
    found = mutant(zoo, "product/product", "inplace_saved", "dx = w.mul_(g)")

    assert "side_effect" in found.awake["two_factors"]
    assert found.raises == ()


def test_state_on_the_class_is_seen_by_two_calls_alive(zoo):
    """The later forward overwrites what the earlier one saved."""
    assert "reentrancy" in mutant(zoo, "tanh/tanh", "save_on_class").awake["plain"]


def test_a_list_of_cotangents_is_a_leak(zoo):
    """In every case, though bytes are counted in the others only where the first one leaks."""
    found = mutant(zoo, "softmax/softmax", "keep_history")

    assert {"memory"} == {c for channels in found.awake.values() for c in channels}
    assert set(found.awake) == {case.name for case in bench(zoo, "softmax/softmax").cases}


def test_a_detached_gradient_is_wrong_only_where_the_second_is_promised(zoo):
    """The contract of the specimen decides."""
    promised = mutant(zoo, "first_order/once_differentiable", "detach_result").kind
    twice = [s for s in zoo.specimens.values() if s.twin == "correct" and s.truth.twice]

    assert promised == "equivalent"
    assert twice
    for specimen in twice:
        for m in mutants(source.standalone(specimen.cls), operators=by_name(["detach_result"])):
            assert classify(m, specimen).kind != "equivalent"


def test_what_raises_in_every_case_is_stillborn(zoo):
    """In the backward, and already when the text is run."""
    right = bench(zoo, "relu/relu").text
    for text in (right.replace("g * (x", "h * (x"), right.replace("class Subject(F", "class S(F")):
        found = classify(text, bench(zoo, "relu/relu"))

        assert found.kind == "raises_always"
        assert set(found.raises) == {"plain", "all_positive", "transposed"}
        assert not found.silent


def test_what_never_ends_is_ended(zoo, monkeypatch):
    """In the backward, in a step, and where it swallows exceptions."""
    monkeypatch.setattr("bugzoo.mutation.classify.LIMIT", 0.2)
    loop = "        while True:\n            pass\n"
    swallow = """\
        while True:
            try:
                g
            except Exception:
                pass
"""
    right = bench(zoo, "relu/relu").text
    for text in (loop, swallow):
        endless = right.replace("        (x,) = ctx", f"{text}        (x,) = ctx")
        assert classify(endless, bench(zoo, "relu/relu")).kind == "hangs"
    step = bench(zoo, "plain_step/plain_step").text
    endless = step.replace("        return loss", f"{loop}        return loss")
    assert classify(endless, bench(zoo, "plain_step/plain_step")).kind == "hangs"


def test_steps_without_zeroing_leave_the_path_at_the_second_step(zoo):
    """One step alone shows nothing."""
    found = mutant(zoo, "plain_step/plain_step", "drop_zero_grad")

    assert found.kind == "awake"
    assert found.awake["sgd"] == ("trajectory",)
    assert "one_step" not in found.awake
    assert "step 2" in found.words


def test_losses_that_are_collected_are_a_leak(zoo):
    """The path is the textbook's."""
    found = mutant(zoo, "plain_step/plain_step", "collect_losses")

    assert {c for channels in found.awake.values() for c in channels} == {"memory"}


def test_labels_of_the_catalog_hold_here_too(zoo):
    """What a label shows or hides, the classification shows or hides: here of every seventh twin."""
    broken = [s for s in zoo.specimens.values() if s.twin == "broken"]
    for specimen in broken[::7]:
        held = bench(zoo, specimen.base)
        found = classify(source.standalone(specimen.cls), held)
        for case in held.cases:
            seen = found.awake.get(case.name, ())
            if case.name in specimen.label.shown_by:
                raised = specimen.label.channel == "contract" and case.name in found.raises
                assert raised or specimen.label.channel in seen, (specimen.id, case.name)
            if case.name in specimen.label.hidden_by:
                assert not seen and case.name not in found.raises, (specimen.id, case.name)


def test_classification_is_deterministic_and_leaves_no_trace(zoo):
    """The same class again; the global generator, the grad mode and the class are as they were."""
    made = mutants(bench(zoo, "softmax/softmax").text)[::6]
    state = torch.get_rng_state()
    first = [classify(m, bench(zoo, "softmax/softmax")) for m in made]
    again = [classify(m, Bench(zoo.specimens["softmax/softmax"])) for m in reversed(made)]

    assert torch.equal(state, torch.get_rng_state())
    assert torch.is_grad_enabled()
    for one, other in zip(first, reversed(again), strict=True):
        assert (one.kind, one.awake, one.raises) == (other.kind, other.awake, other.raises)


def test_judge_and_classify_agree_on_what_raises_in_a_later_pass(zoo):
    """Plain use is fine, a zero cotangent raises: a broken contract, not a loud one."""
    base = zoo.specimens["sigmoid/sigmoid"]
    text = bench(zoo, "sigmoid/sigmoid").text.replace(
        "def backward(ctx, g):", "def backward(ctx, g):\n        1 / g.abs().sum().item()"
    )
    found = classify(text, bench(zoo, "sigmoid/sigmoid"))
    case = base.cases[0]
    told = judge(replace(base, cls=source.written(text, base.cls)), case)

    assert found.kind == "awake" and "contract" in found.awake[case.name]
    assert told.awake == ("contract",) and not told.loud
    assert "ZeroDivisionError" in told.witness("contract").words


def test_a_deadline_ends_what_it_should_and_nothing_else():
    """After it the timers are still; outside of the main thread it says that it cannot."""
    with pytest.raises(Overdue), deadline(0.05):
        while True:
            pass
    with deadline(0.05):
        pass
    until = time.process_time() + 0.1
    while time.process_time() < until:
        pass

    failures = []

    def elsewhere():
        try:
            with deadline(1.0):
                pass
        except ValueError as error:
            failures.append(error)

    thread = threading.Thread(target=elsewhere)
    thread.start()
    thread.join()
    assert len(failures) == 1
