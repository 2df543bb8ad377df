"""An exercise: mode, code and seed. All else is derived from them, on any machine.

find, fix      LN-96f6c6     letters of the operation, six digits of the hash of the wrong program
detect, plant  LN-all-41     letters of the operation, and the seed that draws what is asked
"""

import re
from dataclasses import dataclass
from typing import Literal, get_args

from bugzoo.errors import UserError, did_you_mean

Mode = Literal["find", "fix", "detect", "plant"]
MODES: tuple[str, ...] = get_args(Mode)
FILE = {"find": "exhibit.py", "fix": "backward.py", "detect": "check.py", "plant": "backward.py"}
HASHED = re.compile(r"([A-Z]{2,4})-([0-9a-f]{6})")
DRAWN = re.compile(r"([A-Z]{2,4})-(all|own)-(\d{1,9})")


@dataclass(frozen=True, order=True)
class Exercise:
    """`mode` find, fix, detect or plant; `seed` draws inputs and, for detect, the programs."""

    mode: str
    code: str
    seed: int = 0

    @property
    def key(self) -> str:
        return f"{self.mode}:{self.code}"

    @property
    def file(self) -> str:
        """The file of the exercise in its folder, to read (find) or to edit (all others)."""
        return FILE[self.mode]

    @property
    def letters(self) -> str:
        return self.code.partition("-")[0]


def parse(code: str, mode: str = "", seed: int = 0) -> Exercise:
    """The exercise that a code names. UserError where it is none."""
    if mode and mode not in MODES:
        known = ", ".join(MODES)
        raise UserError(f"--mode {mode}: expected one of {known}.{did_you_mean(mode, MODES)}")
    letters, _, rest = code.strip().partition("-")
    written = f"{letters.upper()}-{rest.lower()}"
    if found := DRAWN.fullmatch(written):
        wanted = "detect" if found[2] == "all" else "plant"
        if mode not in ("", wanted):
            raise UserError(f"{written} is an exercise of '{wanted}', not of '{mode}'.")
        return Exercise(wanted, written, int(found[3]))
    if not HASHED.fullmatch(written):
        raise UserError(
            f"'{code}' is no code of an exercise: expected letters, a dash and six digits of 0-9a-f, "
            f"such as LN-96f6c6, or LN-all-41. 'bugzoo learn list' shows yours."
        )
    if mode in ("detect", "plant"):
        kind = "all" if mode == "detect" else "own"
        raise UserError(f"'{mode}' takes codes such as {letters.upper()}-{kind}-41.")
    return Exercise(mode or "find", written, seed)
