"""The lines of a file that changed since a revision, as git tells them."""

import re
import subprocess
from pathlib import Path

from bugzoo.errors import UserError

_HUNK = re.compile(r"^@@ -\S+ \+(\d+)(?:,(\d+))? @@", re.MULTILINE)


def changed_lines(path: Path, revision: str) -> set[int]:
    """Lines of the file as it lies on disk that differ from `revision`; where lines went, their neighbours.

    Every line of a file that git does not know. Raises UserError where git cannot say.
    """
    folder = path.parent
    _git(folder, path, revision, "rev-parse", "--verify", "--quiet", f"{revision}^{{commit}}")
    if not _git(folder, path, revision, "ls-files", "--", path.name):
        return set(range(1, len(path.read_text(encoding="utf-8").split("\n")) + 1))
    diff = ["diff", "--no-color", "--no-ext-diff", "-U0", revision, "--", path.name]
    lines: set[int] = set()
    for start, count in _HUNK.findall(_git(folder, path, revision, *diff)):
        first, many = int(start), int(count or 1)
        lines |= set(range(first, first + many)) if many else {first, first + 1}
    return lines


def _git(folder: Path, path: Path, revision: str, *words: str) -> str:
    try:
        done = subprocess.run(
            ["git", "-C", str(folder), *words], capture_output=True, text=True, check=False
        )
    except OSError as error:
        raise UserError(f"--since needs git, which cannot be run: {error.strerror}") from None
    if done.returncode:
        said = done.stderr.strip().splitlines()
        why = said[-1] if said else f"'{revision}' is no revision of it"
        raise UserError(f"--since {revision}: git cannot say what changed in {path}: {why}")
    return done.stdout
