"""Is it our `detectors` and `reports` that Python would import? Unrelated distributions have these names.

Each of our packages begins with the line `# bugzoo` and lies beside this one.
"""

from importlib.util import find_spec
from pathlib import Path

from bugzoo.errors import UserError

OURS = ("detectors", "reports")
REMEDY = (
    "Use a fresh virtual environment, or: pip uninstall {name}, then install bugzoo-bench again."
)


def shadows() -> list[str]:
    """One sentence for each of our import names that leads elsewhere; [] when all is well."""
    beside = Path(__file__).resolve().parent.parent
    found = []
    for name in ("bugzoo", *OURS):
        spec = find_spec(name)
        origin = Path(spec.origin).resolve() if spec and spec.origin else None
        if origin is None:
            found.append(f"'{name}' cannot be imported: expected {beside / name}.")
        elif origin.parent.parent != beside:
            found.append(
                f"'{name}' is {origin.parent}, another distribution's; ours is {beside / name}."
            )
        elif not origin.read_text(encoding="utf-8").startswith("# bugzoo"):
            found.append(f"'{name}' in {beside} was overwritten by another distribution.")
    return found


def check() -> None:
    """Raise UserError when an import name of ours is shadowed."""
    for sentence in shadows():
        name = sentence.split("'")[1]
        raise UserError(f"{sentence}\n{REMEDY.format(name=name)}")
