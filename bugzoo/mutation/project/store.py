"""What is known of mutants from earlier runs, by content.

A verdict is kept under a hash of all that it depends on: the mutated code, the rest of its file, the
tests and all that they import below their root, and the words of the command.
"""

import hashlib
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from bugzoo import __version__
from bugzoo.errors import UserError

NAME = "verdicts.jsonl"


class Store:
    """Verdicts in a folder, one a line; a torn last line is left out."""

    def __init__(self, folder: Path, resume: bool):
        self.path = folder / NAME
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self.known = self._read() if resume else {}
            self._file = open(self.path, "a" if resume else "w", encoding="utf-8")  # noqa: SIM115
        except OSError as error:
            raise UserError(f"--out {folder}: cannot be written: {error.strerror}") from None

    def _read(self) -> dict[str, dict[str, Any]]:
        if not self.path.exists():
            return {}
        found = {}
        for line in self.path.read_text(encoding="utf-8").splitlines():
            try:
                entry = json.loads(line)
                found[entry.pop("key")] = entry
            except (ValueError, KeyError, AttributeError):
                continue
        return found

    def keep(self, key: str, verdict: dict[str, Any]) -> None:
        self._file.write(json.dumps({"key": key, **verdict}) + "\n")
        self._file.flush()

    def close(self) -> None:
        self._file.close()


def fingerprint(words: Iterable[Any], files: Iterable[str]) -> str:
    """A hash of the command and of the contents of files."""
    digest = hashlib.sha256(json.dumps([__version__, *map(str, words)]).encode())
    for file in sorted(files):
        digest.update(file.encode() + b"\0")
        digest.update(Path(file).read_bytes() + b"\0")
    return digest.hexdigest()


def key(surroundings: str, code: str) -> str:
    return hashlib.sha256(f"{surroundings}\0{code}".encode()).hexdigest()[:24]
