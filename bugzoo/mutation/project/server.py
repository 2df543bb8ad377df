"""The warm process: imports torch and the user's code, collects the user's tests, and forks.

Two sockets to the command line. Through `tests` come mutants to be tested; they are run in forks of a
process that has done nothing but import and collect. Through `probes` come mutants to be judged by
forks of its first fork, which has run the unmutated tests with a spy in the code.
"""

import importlib.util
import json
import os
import socket
import sys
import time
import types
from pathlib import Path
from typing import Any

import torch
from torch import nn

from bugzoo.errors import UserError
from bugzoo.mutation.project import detect, probes, suggest, swap
from bugzoo.mutation.project import spy as spies
from bugzoo.mutation.project.call import Call
from bugzoo.mutation.project.forks import Forks, Message, import_early, say, threads
from bugzoo.mutation.project.target import Target

LIBRARIES = ("torch.", "numpy.", "scipy.", "sympy.", "mpmath.")


def main() -> None:
    """Entry point: everything is in one argument."""
    config = json.loads(sys.argv[1])
    sys.path[:] = config["path"]
    torch.set_num_threads(1)
    sockets = {n: socket.socket(fileno=config[n]) for n in ("tests", "probes")}
    server = Server(Target(**config["target"] | {"path": Path(config["target"]["path"])}), config)
    try:
        server.start(sockets["tests"], sockets["probes"])
    except UserError as error:
        say(sockets["tests"], {"mistake": str(error)})
    except BaseException as error:
        say(sockets["tests"], {"mistake": f"{type(error).__name__}: {error}"})
        raise
    finally:
        os._exit(0)


class Server:
    """One target with its tests, or without."""

    def __init__(self, target: Target, config: dict[str, Any]):
        self.target, self.config = target, config
        self.modules: list[types.ModuleType] = []
        self.probes: list[probes.Probe] = []
        self.suite: Any = None
        self.calls: list[Call] = []

    def start(self, channel: socket.socket, judging: socket.socket) -> None:
        if self.config["pytest"] is None:
            self.modules = [imported(self.target.path)]
            self.kind()
            say(channel, {"ready": True, "tests": [], "files": [], "threads": threads()})
            self._probing(judging, [], {})
            return
        import pytest

        from bugzoo.mutation.project.tests import Suite

        def ready(suite: Suite) -> None:
            self.suite = suite
            self._testing(channel, judging)

        suite = Suite(ready)
        code: Any = pytest.main(self.config["pytest"], plugins=[suite])
        if suite.problems:
            listed = "\n".join(suite.problems[:2])
            raise UserError(f"the tests cannot be collected:\n{listed}")
        if self.suite is None:
            raise UserError(f"pytest ends before any test is run (exit code {int(code)})")

    def kind(self) -> str:
        """function, module or callable, by what the live object is. UserError where it is none."""
        live = getattr(self.modules[0], self.target.name, None)
        if isinstance(live, type):
            if issubclass(live, torch.autograd.Function):
                return "function"
            if issubclass(live, nn.Module):
                return "module"
        elif callable(live):
            return "callable"
        raise UserError(
            f"{self.target.path.name}::{self.target.name} is neither an autograd.Function, nor an "
            "nn.Module, nor a function"
        )

    def install(self, code: str, edit: Any = lambda statement: None) -> None:
        for module in self.modules:
            swap.install(module, self.target.name, code, self.target.first, edit)

    def _testing(self, channel: socket.socket, judging: socket.socket) -> None:
        """In pytest's loop: all is collected, nothing has been run."""
        suite = self.suite
        if suite.problems or not suite.names:
            raise UserError(
                "no tests were collected" if not suite.problems else
                "the tests cannot be collected:\n" + "\n".join(suite.problems[:2])
            )  # fmt: skip
        self.modules = swap.living(str(self.target.path))
        if not self.modules:
            raise UserError(
                f"none of the {len(suite.names)} tests imports {self.target.path}:\n"
                f"{elsewhere(self.target.path)}"
            )
        self.kind()
        import_early(early(self.files()))
        parent = os.getpid()
        if not os.fork():
            try:
                from bugzoo.trials.limits import die_with

                die_with(parent)
                channel.close()
                self._baseline(judging)
            except UserError as error:
                say(judging, {"mistake": str(error)})
            finally:
                os._exit(0)
        judging.close()
        facts = {"ready": True, "tests": suite.names, "files": self.files()}
        say(channel, {**facts, "threads": threads()})
        Forks(channel, self._tested).serve()
        os._exit(0)

    def _tested(self, job: Message) -> Message:
        """In a fork: the mutant in its place, then the tests."""
        try:
            self.install(job["code"])
        except Exception as error:
            return {"stillborn": f"{type(error).__name__}: {error}"}
        return self.suite.run(job["items"])

    def _baseline(self, judging: socket.socket) -> None:
        """In the first fork: the unmutated tests, with a spy in the code; then judge mutants."""
        spy, seconds, reached, skipped = spies.Spy(), {}, [], []
        for module in self.modules:
            spies.place(module, self.target.name, self.target.code, self.target.first, spy)

        def after(n: int, spent: float, skip: bool) -> None:
            seconds[n] = spent
            if spy.reached:
                reached.append(n)
            if skip:
                skipped.append(n)
            spy.reached = False

        before, started = set(sys.modules), time.perf_counter()
        report = self.suite.run(list(range(len(self.suite.names))), after)
        if report["killed_by"]:
            say(judging, {"failed": report["killed_by"], "why": report["why"]})
            return
        facts = {"seconds": time.perf_counter() - started, "reached": reached, "each": seconds}
        facts["late"] = [n for n in sys.modules if n not in before and n.startswith(LIBRARIES)]
        self.install(self.target.code)
        self._probing(judging, spy.calls, facts | {"skipped": skipped})

    def _probing(self, channel: socket.socket, calls: list[Call], facts: dict[str, Any]) -> None:
        """Say what there is to judge by, then judge."""
        origin = "recorded values"
        if self.config["inputs"]:
            calls, origin = [self._made(seed) for seed in range(3)], "values of the maker"
        self.calls, self.probes = calls, probes.prepared(calls, origin)
        if self.config["inputs"] and not self.probes:
            raise UserError(self._unfit())
        found = {"probes": [probes.described(p) for p in self.probes], "threads": threads()}
        if self.config["detectors"]:
            self.detectors = detect.chosen(self.config["detectors"])
            detect.refuse_unfit(self.detectors, self.target, self.calls)
        say(channel, {"baseline": facts, **found})
        Forks(channel, self._judged).serve()
        os._exit(0)

    def _judged(self, job: Message) -> Message:
        """In a fork: how the mutant differs, which detectors alarm, which test would notice it."""
        if job.get("text"):  # a test as text: does it pass on this code?
            return suggest.outcome(job["text"], lambda: self.install(job["code"]))
        try:
            self.install(job["code"])
        except Exception as error:
            return {"kind": "stillborn", "words": f"{type(error).__name__}: {error}"}
        if job.get("detectors"):
            return {"alarms": detect.alarms(self.detectors, self.calls)}
        found = probes.judge(self.probes, quick=not job.get("suggest"))
        texts = []
        if found.kind == "awake" and job.get("suggest"):
            texts = suggest.texts(
                self.target.name,
                self.modules[0].__name__,
                self.probes[found.probe],
                found,
                lambda: self.install(self.target.code),
                self.config["inputs"],
            )
        return {**vars(found), "tests": texts}

    def _made(self, seed: int) -> Call:
        """What the user's maker of inputs returns for this seed."""
        file, _, name = self.config["inputs"].partition("::")
        path = Path(file).resolve()
        same = path == self.target.path
        maker = getattr(self.modules[0] if same else imported(path), name, None)
        if not callable(maker):
            raise UserError(f"--inputs {self.config['inputs']}: no function '{name}' in {file}")
        try:
            made = maker(seed)
        except Exception as error:
            raise UserError(
                f"--inputs {self.config['inputs']}: {name}({seed}) raises "
                f"{type(error).__name__}: {error}\nexpected: a function of a seed that returns "
                "the inputs"
            ) from None
        args = tuple(made) if isinstance(made, tuple | list) else (made,)
        live: Any = getattr(self.modules[0], self.target.name)
        if isinstance(live, type) and issubclass(live, nn.Module):
            if isinstance(args[0], nn.Module):
                return Call(args[0], args[1:], {}, spies.names(live.forward)[1:])
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(seed)
                return Call(live(), args, {}, spies.names(live.forward)[1:])
        if self.kind() == "function":
            free = live.setup_context is not torch.autograd.Function.setup_context
            return Call(live, args, {}, spies.names(live.forward)[0 if free else 1 :])
        return Call(live, args, {}, spies.names(live))

    def _unfit(self) -> str:
        call = self.calls[0]
        try:
            call.copied()()
        except Exception as error:
            return (
                f"--inputs {self.config['inputs']}: {self.target.name} raises on what it returns: "
                f"{type(error).__name__}: {error}"
            )
        return f"--inputs {self.config['inputs']}: no finite result, or not twice the same"

    def files(self) -> list[str]:
        """All files of the user that the tests have imported: what a verdict depends on."""
        root = Path(self.suite.session.config.rootpath)
        found = set(self.suite.files()) | {str(self.target.path)}
        for module in list(sys.modules.values()):
            file = getattr(module, "__file__", None)
            if isinstance(file, str) and file.endswith(".py") and "site-packages" not in file:
                path = Path(file).resolve()
                if path.is_relative_to(root) and os.path.isabs(file) and path.is_file():
                    found.add(str(path))
        return sorted(found)


def early(files: list[str]) -> list[str]:
    """What the first backward pass would import in every fork, and the first optimizer."""
    texts = (Path(f).read_text(encoding="utf-8", errors="replace") for f in files)
    optimizer = ["torch._dynamo"] if any("optim" in text for text in texts) else []
    return ["torch.fx.experimental.symbolic_shapes", *optimizer]


def imported(path: Path) -> types.ModuleType:
    """The module of a file, under the name that it has in its package. UserError where it fails."""
    root, parts = path.parent, [path.stem]
    while (root / "__init__.py").exists():
        parts.insert(0, root.name)
        root = root.parent
    name = ".".join(parts[:-1] if parts[-1] == "__init__" and len(parts) > 1 else parts)
    if str(root) not in sys.path:
        sys.path.insert(0, str(root))
    try:
        module = importlib.import_module(name)
        if Path(module.__file__ or "").resolve() == path:
            return module
        spec = importlib.util.spec_from_file_location(f"{name}_of_file", path)
        assert spec is not None and spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules[module.__name__] = module
        spec.loader.exec_module(module)
        return module
    except Exception as error:
        raise UserError(
            f"{path.name} cannot be imported: {type(error).__name__}: {error}"
        ) from None


def elsewhere(path: Path) -> str:
    """Where the tests have found a module of this name instead."""
    for module in list(sys.modules.values()):
        file = getattr(module, "__file__", None)
        if (
            isinstance(file, str)
            and Path(file).name == path.name
            and Path(file).parent.name == (path.parent.name)
        ):
            return f"they import {file}"
    return "give the file that they import, or tests that import it"
