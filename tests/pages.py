"""A page of recipes: its code blocks are run, and what they print is held against what it shows.

    ```python     with a first line '# name.py' a file; without, code that is run: all of one recipe
                  is one program, and the ```text block below shows what this part prints
    ```console    lines '$ command', each with its output below
    <!-- needs: bugzoo.watch -->     anywhere in a recipe: run only where that name exists

`python tests/pages.py` writes today's outputs into docs/recipes.md.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
from dataclasses import dataclass, field
from importlib.metadata import entry_points
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "docs" / "recipes.md"
MARK = "\x1e"  # printed after each part of a program
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.M | re.S)
INSTALLED = any(e.value == "bugzoo.pytest_plugin" for e in entry_points(group="pytest11"))


@dataclass
class Recipe:
    """One '##' section. `blocks` are (kind, text) in order; `start` is where it begins in the page."""

    heading: str
    text: str
    start: int
    blocks: list[re.Match[str]] = field(default_factory=list)

    @property
    def needs(self) -> list[str]:
        return re.findall(r"<!-- needs: ([\w.]+) -->", self.text)


def recipes(page: str) -> list[Recipe]:
    """The sections that hold code."""
    starts = [m.start() for m in re.finditer(r"^## ", page, re.M)]
    found = []
    for start, end in zip(starts, [*starts[1:], len(page)]):
        text = page[start:end]
        blocks = list(BLOCK.finditer(text))
        if blocks:
            found.append(Recipe(text.partition("\n")[0][3:], text, start, blocks))
    return found


def shown_and_printed(recipe: Recipe, folder: Path) -> list[tuple[re.Match[str], str, str]]:
    """(block, what the page shows, what was printed) for each block that shows output."""
    parts, shown, pairs = [], {}, []
    for n, block in enumerate(recipe.blocks):
        kind, text = block.groups()
        name = re.match(r"# (\w+\.py)\n", text)
        if kind == "python" and name:
            (folder / name[1]).write_text(text)
        elif kind == "python":
            after = recipe.blocks[n + 1] if n + 1 < len(recipe.blocks) else None
            shown[len(parts)] = after if after is not None and after[1] == "text" else None
            parts.append(text)
    if parts:
        program = "".join(f"{text}print({MARK!r}, flush=True)\n" for text in parts)
        (folder / "recipe.py").write_text(program)
        printed = run("python recipe.py", folder, must=True).split(MARK + "\n")[:-1]
        for n, output in enumerate(printed):
            block = shown[n]
            if block is None:
                assert not output, f"{recipe.heading}: a block prints, and the page shows nothing"
            else:
                pairs.append((block, block[2], output))
    for block in recipe.blocks:
        if block[1] == "console":
            commands = re.findall(r"^\$ (.*)$", block[2], re.M)
            pairs.append((block, block[2], "".join(f"$ {c}\n{run(c, folder)}" for c in commands)))
    return pairs


def run(command: str, folder: Path, must: bool = False) -> str:
    """What the command prints in `folder`, where python, pytest and bugzoo are those of this run."""
    tools = folder / "bin"
    tools.mkdir(exist_ok=True)
    for name, words in (
        ("python", ""),
        ("pytest", "-m pytest -p no:cacheprovider"),
        ("bugzoo", "-m bugzoo.cli"),
    ):
        (tools / name).write_text(f'#!/bin/sh\nexec "{sys.executable}" {words} "$@"\n')
        (tools / name).chmod(0o755)
    dropped = ("CI", "BUILD_NUMBER", "PYTEST_ADDOPTS", "PYTEST_XDIST_WORKER")
    env = {k: v for k, v in os.environ.items() if k not in dropped} | {
        "PATH": f"{tools}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": f"{ROOT}{os.pathsep}{os.environ.get('PYTHONPATH', '')}",
        "COLUMNS": "80", "NO_COLOR": "1", "OMP_NUM_THREADS": "1",
    }  # fmt: skip
    if not INSTALLED:
        env["PYTEST_ADDOPTS"] = "-p bugzoo.pytest_plugin"
    done = subprocess.run(
        ["bash", "-c", command], cwd=folder, env=env, text=True, timeout=300, check=False,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip
    assert not must or done.returncode == 0, done.stdout
    return done.stdout


def compared(shown: str, printed: str) -> None:
    """Word for word; numbers to 0.1 %; times, passes and counts of variations are not compared."""
    words, numbers = _parts(shown)
    words_now, numbers_now = _parts(printed)

    assert words_now == words
    assert numbers_now == pytest.approx(numbers, rel=1e-3, abs=1e-9)


def _parts(text: str) -> tuple[list[str], list[float]]:
    text = re.sub(r"(\d+ forwards, \d+ backwards|\d+ steps), [\d.]+ s", "(cost)", text)
    text = re.sub(r"on \d+ variations?", "on N variations", text)
    text = re.sub(r"in \d[\d.]*s\b", "in T", text)
    text = re.sub(r"([=_])\1{3,}", r"\1\1\1", text)
    number = r"(?<![\w.])-?\d+(?:\.\d+)?(?:e[-+]?\d+)?(?![\w.]*\w)"
    return re.sub(number, "#", text).split(), [float(n) for n in re.findall(number, text)]


def available(name: str) -> bool:
    """'bugzoo.watch': does it exist here?"""
    import bugzoo

    return hasattr(bugzoo, name.removeprefix("bugzoo."))


def refresh(path: Path = PAGE) -> None:
    """Puts what the blocks print today into the page."""
    page = path.read_text()
    for recipe in reversed(recipes(page)):
        if all(map(available, recipe.needs)):
            with tempfile.TemporaryDirectory() as folder:
                pairs = shown_and_printed(recipe, Path(folder))
            for block, _, printed in sorted(pairs, key=lambda p: -p[0].start()):
                start, end = (recipe.start + place for place in block.span(2))
                page = page[:start] + printed.rstrip("\n") + "\n" + page[end:]
    path.write_text(page)


if __name__ == "__main__":
    refresh()
