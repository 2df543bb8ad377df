"""Where the packages of other projects' tools lie: for each peer a folder that goes first on the path.

    $BUGZOO_CACHE/peers/NAME            or ~/.cache/bugzoo/peers/NAME

A folder of packages is all that an environment needs here: the interpreter, torch, numpy and whatever
else runs already come after it on the path, so a build takes seconds, two peers that contradict each
other never meet, and one that pins an old version of something has it. A virtual environment would
add an interpreter and a second torch.
"""

import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from bugzoo.errors import UserError, did_you_mean
from bugzoo.model import NOT_INSTALLED, Peer

STAMP = "bugzoo-peer.json"  # written last: a folder without it was cut off
TRY = "import importlib, json, sys\nfor name in json.loads(sys.argv[1]): importlib.import_module(name)"


def home() -> Path:
    """The folder that holds the peers' folders; BUGZOO_CACHE moves it."""
    cache = os.environ.get("BUGZOO_CACHE") or Path.home() / ".cache" / "bugzoo"
    return Path(cache).expanduser().absolute() / "peers"


def folder(peer: Peer) -> Path:
    return home() / peer.name


def installed(peer: Peer) -> bool:
    """Built, from these very pins, for this Python."""
    try:
        return json.loads((folder(peer) / STAMP).read_text()) == _stamp(peer)
    except (OSError, ValueError):
        return False


def there() -> list[str]:
    """Names of the folders that are built, of whatever pins."""
    return sorted(p.parent.name for p in home().glob(f"*/{STAMP}"))


def absence(peer: Peer) -> str:
    """Why its detectors cannot run now, with the command that mends it; '' where they can."""
    return "" if installed(peer) else f"{NOT_INSTALLED}bugzoo peers install {peer.name}"


def path(peer: Peer) -> list[str]:
    """The import path of its workers."""
    return [str(folder(peer)), *sys.path]


def chosen(known: dict[str, Peer], names: Iterable[str]) -> list[Peer]:
    """The peers called `names`. UserError for one that is unknown."""
    found = []
    for name in names:
        if name not in known:
            near = did_you_mean(name, known)
            raise UserError(f"unknown peer '{name}'.{near} 'bugzoo peers' shows all.")
        found.append(known[name])
    return found


def install(peer: Peer, say: Callable[[str], None] = lambda text: None) -> Path:
    """Build the peer's folder with pip, in place of one that is there; nothing is left half built.

    Packages come one by one, without dependencies: what the running environment has is not fetched
    again, and torch never.
    """
    target = folder(peer)
    missing = [p for p in peer.packages if not _present(p, peer)]
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        building = Path(tempfile.mkdtemp(prefix=f".{peer.name}-", dir=target.parent))
    except OSError as error:
        raise UserError(
            f"{target}: cannot be written ({error.strerror}). BUGZOO_CACHE moves it."
        ) from None
    try:
        if missing:
            say(f"{peer.name}: fetching {', '.join(missing)}")
            _pip(peer, building, missing)
        _imports(peer, building)
        (building / STAMP).write_text(json.dumps(_stamp(peer)))
        building.chmod(0o755)
        shutil.rmtree(target, ignore_errors=True)
        building.rename(target)
    finally:
        shutil.rmtree(building, ignore_errors=True)
    return target


def _stamp(peer: Peer) -> dict[str, object]:
    return {
        "packages": list(peer.packages),
        "python": ".".join(platform.python_version_tuple()[:2]),
    }


def _present(package: str, peer: Peer) -> bool:
    """The running environment has it; the tool itself and what is pinned by `===` in that version."""
    name, _, pinned = package.partition("==")
    strict = package == peer.packages[0] or pinned.startswith("=")
    try:
        return version(name) == pinned.lstrip("=") or not strict
    except PackageNotFoundError:
        return False


def _pip(peer: Peer, target: Path, packages: list[str]) -> None:
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target"]
    done = subprocess.run(
        [*command, str(target), *packages], capture_output=True, text=True, check=False
    )
    if done.returncode:
        lines = [line for line in done.stderr.splitlines() if line.strip()]
        raise UserError(
            f"peer '{peer.name}' cannot be installed: {lines[-1] if lines else 'pip gave no reason'}\n"
            f"If it is the network, run 'bugzoo peers install {peer.name}' again where there is one."
        )


def _imports(peer: Peer, target: Path) -> None:
    """Try in a process of its own what the workers will import."""
    code = f"import sys; sys.path[:] = {[str(target), *sys.path]!r}\n{TRY}"
    done = subprocess.run(
        [sys.executable, "-c", code, json.dumps(peer.imports)],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        lines = done.stderr.strip().splitlines()
        raise UserError(
            f"peer '{peer.name}' was fetched but cannot be imported: "
            f"{lines[-1] if lines else f'exit code {done.returncode}'}"
        )
