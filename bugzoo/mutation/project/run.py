"""The whole run: breed, start the crew, judge, test, suggest."""

import os
import sys
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from bugzoo.errors import UserError
from bugzoo.mutation.project import breeding
from bugzoo.mutation.project.breeding import Bred
from bugzoo.mutation.project.crew import Crew, Message
from bugzoo.mutation.project.score import Outcome, Result
from bugzoo.mutation.project.since import changed_lines
from bugzoo.mutation.project.store import Store, fingerprint, key
from bugzoo.mutation.project.target import Target, target

CONSTANT = 3.0  # seconds on top of factor x baseline
JUDGING = 20.0  # seconds for all probes of one mutant
ALARMS = 60.0  # seconds for all detectors on one mutant
QUIET = ["-s", "-p", "no:cacheprovider", "-p", "no:terminalreporter", "--tb=native"]


@dataclass(frozen=True)
class Plan:
    """What was asked for."""

    words: str
    command: tuple[str, ...] = ()
    inputs: str = ""
    detectors: tuple[str, ...] = ()
    sample: int | None = None
    pairs: int | None = None
    seed: int = 0
    since: str = ""
    resume: bool = False
    out: str = "mutation"
    factor: float = 5.0
    jobs: int = 1


def mutate(plan: Plan, progress: Callable[[int, int, str], None]) -> Outcome:
    """Carry the plan out. `progress(total, done, text)` is told of every step."""
    begun = time.perf_counter()
    subject = target(plan.words)
    pytest, path = _pytest(plan.command) if plan.command else (None, sys.path)
    if plan.inputs and (
        "::" not in plan.inputs or not Path(plan.inputs.partition("::")[0]).is_file()
    ):
        raise UserError(f"--inputs {plan.inputs}: expected FILE.py::MAKER, a file that is there")
    outcome = Outcome(
        target=f"{os.path.relpath(subject.path)}::{subject.name}",
        file=os.path.relpath(subject.path),
        source=subject.text,
        command=" ".join(plan.command),
        detectors=[] if plan.command else list(plan.detectors),
    )
    crew = Crew(
        subject,
        pytest=pytest,
        path=path,
        inputs=plan.inputs,
        detectors=outcome.detectors,
        jobs=plan.jobs,
    )
    with crew:  # imports and collects while the mutants are bred
        made = breeding.bred(subject, plan.pairs, plan.seed)
        outcome.results = [Result(m) for m in _chosen(plan, subject, made)]
        if outcome.results:
            progress(0, 0, "collecting" if pytest else "importing")
            _Run(plan, subject, crew, outcome, progress).all()
        else:
            outcome.notes.append(f"no function of {subject.name} has changed since {plan.since}")
    outcome.seconds = time.perf_counter() - begun
    return outcome


class _Run:
    """One run of one crew over the results of one outcome."""

    def __init__(
        self,
        plan: Plan,
        subject: Target,
        crew: Crew,
        outcome: Outcome,
        progress: Callable[[int, int, str], None],
    ):
        self.plan, self.subject, self.crew = plan, subject, crew
        self.outcome, self.progress = outcome, progress
        self.items: list[int] = []
        self.limit = ALARMS
        self.probes: list[Message] = []

    def all(self) -> None:
        ready = self.crew.hear("tests")
        if ready["threads"] > 1:
            self.outcome.notes.append(
                f"importing the tests has started {ready['threads'] - 1} threads: forks of such a "
                "process may hang; a hang is shown as a time-out, never as a kill"
            )
        self._baseline(ready)
        words = [self.plan.command, self.plan.inputs, self.outcome.detectors]
        files = {*ready["files"], str(self.subject.path)}
        if self.plan.inputs:
            files.add(self.plan.inputs.partition("::")[0])
        about = fingerprint(words, files)
        store = Store(Path(self.plan.out), self.plan.resume)
        try:
            self._verdicts(store, about)
        finally:
            store.close()

    def _baseline(self, ready: Message) -> None:
        """The unmutated code must pass; what its tests gave it are the probes."""
        self.progress(0, 0, "baseline")
        said = self.crew.hear("probes")
        if "failed" in said:
            raise UserError(
                f"the tests fail on the unmutated code: {said['failed']}\n{said['why']}\n"
                "mend that first, or leave the test out with --deselect"
            )
        self.probes = said["probes"]
        self.outcome.probes = len(self.probes)
        if not self.probes:
            self.outcome.notes.append(
                "no inputs: the tests call it with nothing that can be repeated, so every mutant "
                "counts, equivalent ones too; --inputs FILE::MAKER names a maker of inputs"
            )
        if not self.plan.command:
            return
        tests, facts = ready["tests"], said["baseline"]
        reached = [n for n in facts["reached"] if n not in facts["skipped"]]
        if not reached:
            skipped = len(facts["skipped"])
            raise UserError(
                f"none of the {len(tests)} tests runs {self.subject.name}"
                + (f" ({skipped} are skipped)" if skipped else "")
            )
        self.outcome.tests, self.outcome.reached = tests, [tests[n] for n in reached]
        self.outcome.baseline = sum(facts["each"][str(n)] for n in reached)
        self.items = reached
        self.limit = self.plan.factor * self.outcome.baseline + CONSTANT
        self.crew.early("tests", facts["late"])
        self._fast_first(facts)

    def _fast_first(self, facts: Message) -> None:
        """Short tests first, if the unmutated code passes in that order too."""
        order = sorted(self.items, key=lambda n: facts["each"][str(n)])
        for trial in (order, self.items):
            job = {"code": self.subject.code, "items": trial, "limit": self.limit}
            ((_, answer),) = self.crew.answers("tests", [job])
            if answer.get("killed_by") == "":
                self.items, self.outcome.baseline = trial, answer["seconds"]
                self.limit = self.plan.factor * self.outcome.baseline + CONSTANT
                return
        why = answer.get("killed_by") or answer.get("timeout") or answer.get("crash", "")
        raise UserError(
            f"the tests pass once and fail when run again, or alone: {why}\n"
            "no kill could be believed; mend the test, or leave it out with --deselect"
        )

    def _verdicts(self, store: Store, about: str) -> None:
        """First the tests, or the detectors; then the probes, of those whose class they decide."""
        first = "tests" if self.plan.command else "probes"
        queues: dict[str, deque[Message]] = {"probes": deque(), "tests": deque()}
        how = (
            {"items": self.items, "limit": self.limit}
            if self.plan.command
            else {"detectors": True, "limit": ALARMS}
        )
        total, done = len(self.outcome.results), 0
        for n, result in enumerate(self.outcome.results):
            known = store.known.get(key(about, result.mutant.code))
            if known is not None:
                vars(result).update(known)
                self.outcome.reused += 1
                done += 1
            else:
                queues[first].append({"code": result.mutant.code, "n": n, "stage": 1, **how})
        self.progress(total, done, "mutants")
        offers: dict[int, list[str]] = {}

        def keep(result: Result) -> None:
            kept = {k: v for k, v in vars(result).items() if k != "mutant"}
            store.keep(key(about, result.mutant.code), kept)

        for _, job, answer in self.crew.both(queues):
            n, result = job["n"], self.outcome.results[job["n"]]
            if job["stage"] == 1:
                self._tested(result, answer)
                if self.probes and self._undecided(result):
                    looking = {"suggest": result.status == "survived", "limit": JUDGING}
                    queues["probes"].append(
                        {"code": result.mutant.code, "n": n, "stage": 2, **looking}
                    )
                    continue
            else:
                self._judged(result, answer)
            done += 1
            self.progress(total, done, "mutants")
            if answer.get("tests"):
                offers[n] = answer["tests"]
            else:
                keep(result)
        self._suggest(offers)
        for n in offers:
            keep(self.outcome.results[n])

    @staticmethod
    def _undecided(result: Result) -> bool:
        """A survivor may be equivalent; what dies of an exception may raise on whatever it is given."""
        return result.status == "survived" or (
            result.status == "killed" and not result.why.startswith("AssertionError")
        )

    def _tested(self, result: Result, answer: Message) -> None:
        """What the tests, or the detectors, say."""
        result.seconds = answer["seconds"]
        if "alarms" in answer:
            killers = answer["alarms"]
            answer["killed_by"] = ", ".join(killers)
            answer["why"] = next(iter(killers.values()), "")
        result.killed_by, result.why = answer.get("killed_by", ""), answer.get("why", "")
        result.ran = answer.get("ran", 0)
        result.status = "killed" if result.killed_by else "survived"
        for status in ("timeout", "crash", "stillborn"):
            if status in answer:
                result.status, result.why = status, answer[status]

    def _judged(self, result: Result, answer: Message) -> None:
        """What the probes say. Of a mutant that tests have killed, only whether it raises always."""
        for name in ("timeout", "crash"):
            if name in answer:
                answer = {"words": f"the probes end with a {name}: {answer[name]}"}
        for name in ("kind", "probes", "wrong", "raised", "error", "words", "probe"):
            setattr(result, name, answer.get(name, getattr(result, name)))
        if result.probe >= 0:
            small = f" (relative error {result.error:.1e})" if result.error < 1e-3 else ""
            result.witness = _witness(self.probes[result.probe], result.words + small)
        if result.kind == "stillborn" or (
            result.status == "survived" and result.kind in ("equivalent", "second")
        ):
            result.status = result.kind

    def _suggest(self, offers: dict[int, list[str]]) -> None:
        """A test for each survivor: the first that passes on the original and fails on the mutant."""
        results = self.outcome.results
        every = sorted({text for listed in offers.values() for text in listed})
        asked = [{"code": self.subject.code, "text": text, "limit": JUDGING} for text in every]
        self.progress(len(offers), 0, "suggestions")
        passing = {
            job["text"] for job, said in self.crew.answers("probes", asked) if said.get("passes")
        }
        tried = [
            {"code": results[n].mutant.code, "text": text, "n": n, "limit": JUDGING}
            for n, listed in offers.items()
            for text in listed
            if text in passing
        ]
        failing = {
            (job["n"], job["text"])
            for job, said in self.crew.answers("probes", tried)
            if said.get("passes") is False
        }
        for n, listed in offers.items():
            results[n].test = next((text for text in listed if (n, text) in failing), "")


def _chosen(plan: Plan, subject: Target, made: list[Bred]) -> list[Bred]:
    if plan.since:
        made = breeding.within(made, subject, changed_lines(subject.path, plan.since))
    return made if plan.sample is None else breeding.sample(made, plan.sample, plan.seed)


def _pytest(command: Sequence[str]) -> tuple[list[str], list[str]]:
    """Arguments for pytest and the import path, from the user's words. UserError on another program."""
    words = list(command)
    first = Path(words[0]).name
    path = [p for p in sys.path if p not in ("", os.getcwd())]
    if first.startswith("python") and words[1:3] == ["-m", "pytest"]:
        arguments, path = words[3:], [os.getcwd(), *path]
    elif first in ("pytest", "py.test"):
        arguments = words[1:]
    else:
        raise UserError(
            f"'{' '.join(words)}': expected a pytest command after --, e.g. -- pytest -x tests/"
        )
    extra = list(QUIET)
    extra += ["-n0"] if find_spec("xdist") else []
    extra += ["--no-cov"] if find_spec("pytest_cov") else []
    return [*arguments, *extra], path


def _witness(probe: Message, words: str) -> str:
    """'with X 4x6 and a dense cotangent, dX[0, 2] is 3.2, true 1.1'."""
    given = ", ".join(probe["shapes"]) or "no tensors"
    consumer = {
        "": "",
        "second": " and two backward passes",
        "zero": " and a zero cotangent",
        "expanded": " and an expanded cotangent",
    }.get(probe["layout"], f" and a {probe['layout']} cotangent")
    about = probe["about"]
    asked = f", {about}" if about.startswith("a gradient") else ""
    return f"with {given}{consumer}{asked}: {words}"
