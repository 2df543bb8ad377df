"""pytest-torch's checks of a training loop: run_training(...).assert_healthy(), assert_resume_equivalent.

Its step is one `advance` of the subject's run. The run draws its own batches, so a resumed one is first
brought to the batch where the other was saved; then the checkpoint is loaded and, as in a fresh process,
no gradient is there. The alarm is a failed assertion: a trained parameter in no optimizer or in two, a
step without an update, NaN or Inf, a resumed run that goes elsewhere.
"""

from torch import Generator

from bugzoo import Verdict, detector
from bugzoo.subject import Subject
from detectors.peers._driving import again, raised_in, shown, together, untouched
from detectors.peers._pytest_torch import PEER

STEPS, RESUMED = 20, 8


@detector(
    needs="training",
    claims="trajectory",
    cost=f"{STEPS + 2 * RESUMED} steps, and a copy of every parameter a step",
    blind_to="wrong gradients that are healthy and repeat; memory; side effects; state outside the model and "
    "optimizer that a resumed process would lack",
    thresholds={
        "0 skipped updates in 20 steps": "pytest-torch, run_training and assert_healthy",
        "rtol = 1e-5 after 8 steps": "pytest-torch, assert_resume_equivalent",
    },
    peer=PEER,
)
def pytest_torch_training(subject: Subject, gen: Generator) -> Verdict:
    from pytest_torch import training_loop as tool

    fresh, runs = again(subject, gen), {}

    if not fresh().optimizers:
        return Verdict(
            "abstain", because="a TrainingSetup needs 1 optimizer or more, the run has 0"
        )

    def make_setup():
        run = fresh()
        setup = tool.TrainingSetup(together(run), list(run.optimizers))
        runs[id(setup)] = setup, run
        return setup

    def step(setup, _):
        return runs[id(setup)][1].advance()

    def load(setup, path):
        for _ in range(RESUMED // 2):
            step(setup, None)
        tool.load_training_state(setup, path)
        for p in setup.model.parameters():
            p.grad = None

    with untouched(gen):
        try:
            tool.run_training(make_setup, [0], step, steps=STEPS).assert_healthy()
            tool.assert_resume_equivalent(make_setup, [0], step, steps=RESUMED, load=load)
        except AssertionError as error:
            if not raised_in(error, "pytest_torch"):
                raise
            lines = str(error).strip().splitlines()
            because = f"1 assertion failed: {shown(' '.join(lines[:2]))}"
            return Verdict("alarm", float("inf"), because)
    return Verdict("clear", 0.0, f"0 assertions failed in {STEPS} steps and {RESUMED} resumed")
