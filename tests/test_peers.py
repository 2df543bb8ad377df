"""Peers: packages of their own, built by one command, and the cells of those that are not there."""

import json
import os
import zipfile
from pathlib import Path

import pytest
from click.testing import CliRunner

from bugzoo import catalog, peers
from bugzoo.cli import cli
from bugzoo.errors import DetectorError, UserError
from bugzoo.model import NOT_INSTALLED, Peer
from bugzoo.trials import frame, plan, runner
from bugzoo.trials.cell import Cell
from bugzoo.trials.pool import Pool

HOSTILE = Path(__file__).parent / "hostile"
ASKED = {
    "specimen": ["square/lost_factor"],
    "detector": ["weigher", "surveyor"],
    "case": ["plain"],
}
ADAPTER = '''"""Asks tinypeer for the limit."""

from bugzoo import Verdict, detector
from bugzoo.model import Peer

PEER = Peer("tiny", "1.0", "A package for tests.", packages=("tinypeer==1.0",), imports=("tinypeer",))


@detector(cost="1 F + 1 B", blind_to="nearly everything there is", peer=PEER)
def weigher(subject, gen):
    import tinypeer, torch

    x = torch.ones(3, dtype=torch.float64, requires_grad=True)
    (dx,) = subject.vjp((x,), [torch.ones(3, dtype=torch.float64)])
    off = abs(dx.sum().item() - 6)
    because = f"off by {off:g}, limit {tinypeer.LIMIT}, dtype {torch.get_default_dtype()}"
    return Verdict("alarm" if off > tinypeer.LIMIT else "clear", off, because)
'''
SETS_DTYPE = "import torch\ntorch.set_default_dtype(torch.float64)\nLIMIT = 0.5\n"


def wheel(folder, name="tinypeer", version="1.0", code=SETS_DTYPE, requires="torch<2"):
    """A wheel that asks for an old torch, which must not be fetched."""
    info = f"{name}-{version}.dist-info"
    files = {
        f"{name}/__init__.py": code,
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
        f"Requires-Dist: {requires}\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }  # fmt: skip
    record = "".join(f"{path},,\n" for path in [*files, f"{info}/RECORD"])
    folder.mkdir(exist_ok=True)
    with zipfile.ZipFile(folder / f"{name}-{version}-py3-none-any.whl", "w") as made:
        for path, text in {**files, f"{info}/RECORD": record}.items():
            made.writestr(path, text)


@pytest.fixture
def shelf(tmp_path, monkeypatch):
    """An empty cache, and an index that is a folder here: nothing is fetched from anywhere."""
    monkeypatch.setenv("BUGZOO_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path / "wheels"))
    wheel(tmp_path / "wheels")
    return tmp_path / "wheels"


@pytest.fixture
def tiny(tmp_path):
    """The squares, the good detectors and one that drives the peer `tiny`."""
    file = tmp_path / "weigher.py"
    file.write_text(ADAPTER)
    found = catalog.load(specimens=[HOSTILE / "square.py"], detectors=[HOSTILE / "good.py", file])
    assert found.problems == []
    return found


def test_a_peer_that_is_not_installed_is_neither_hit_nor_miss(shelf, tiny, tmp_path):
    """Its cells hold the command that installs it; then they run, with --resume too."""
    selection = plan.select(tiny, **ASKED)
    key = plan.Keys(tiny)
    runner.run(tiny, selection, out=tmp_path / "out", jobs=1)
    before = frame.load(tmp_path / "out")
    mine = before.trials[before.trials["detector"].eq("weigher")]

    assert {"not_applicable"} == set(mine["outcome"])
    assert {f"{NOT_INSTALLED}bugzoo peers install tiny"} == set(mine["because"])
    assert before.meta["absent"] == ["tiny"]

    peers.install(tiny.peers["tiny"])
    runner.run(tiny, selection, out=tmp_path / "out", jobs=1, resume=True)
    after = frame.load(tmp_path / "out")
    mine = after.trials[after.trials["detector"].eq("weigher")].set_index("specimen")

    assert dict(mine["outcome"]) == {"square/lost_factor": "alarm", "square/square": "clear"}
    assert mine.loc["square/lost_factor", "because"] == "off by 3, limit 0.5, dtype torch.float32"
    assert after.meta["absent"] == []
    assert plan.Keys(tiny)(Cell("weigher", *_cell()), 30.0) != key(Cell("weigher", *_cell()), 30.0)
    other = before.trials["detector"].eq("surveyor")
    assert list(before.trials[other]["key"]) == list(
        after.trials[after.trials["detector"].eq("surveyor")]["key"]
    )


def test_a_peer_that_broke_since_is_one_message(shelf, tiny, tmp_path):
    """Its workers cannot start: said with the command that mends it, and the rest is kept."""
    place = peers.install(tiny.peers["tiny"])
    (place / "tinypeer" / "__init__.py").write_text("raise ImportError('gone')")
    with pytest.raises(
        UserError, match=r"peer 'tiny': no worker can be started(.|\n)*--again tiny"
    ):
        runner.run(tiny, plan.select(tiny, **ASKED), out=tmp_path / "out", jobs=1)

    assert set(frame.results(tmp_path / "out")["detector"]) == {"surveyor"}


def _cell():
    return "square/square", "operation", "plain", 0


def test_reports_leave_an_absent_peer_out_and_say_so(shelf, tiny, tmp_path):
    """No row anywhere; one line with the command below the scoreboard, and on the page."""
    result = CliRunner().invoke(
        cli,
        ["run", "--out", str(tmp_path / "out"), "--detector", "weigher", "--detector", "surveyor",
         "--specimen", "square/lost_factor", "--case", "plain", "--specimens", str(HOSTILE / "square.py"),
         "--detectors", str(HOSTILE / "good.py"), "--detectors", str(tmp_path / "weigher.py")],
    )  # fmt: skip

    assert result.exit_code == 0, result.output
    assert "weigher" not in result.output
    assert "1 peer is not installed and left out: tiny." in " ".join(result.output.split())
    assert "'bugzoo peers install --all'" in result.output
    for name in ("scoreboard.csv", "catch_matrix.csv"):
        assert "weigher" not in (tmp_path / "out" / name).read_text()
    assert "peers not installed, left out" in (tmp_path / "out" / "report.html").read_text()


def test_install_fetches_the_pins_and_nothing_they_ask_for(shelf, tiny):
    """The old torch in the metadata stays away; a second time nothing is done; --again does it."""
    peer = tiny.peers["tiny"]
    place = peers.install(peer)

    assert peers.installed(peer)
    assert sorted(p.name for p in place.iterdir() if p.suffix != ".json") == [
        "tinypeer", "tinypeer-1.0.dist-info",
    ]  # fmt: skip
    (place / "tinypeer" / "trace").touch()
    peers.install(peer)
    assert not (place / "tinypeer" / "trace").exists()
    assert [place] == list(place.parent.iterdir())


def test_what_the_running_environment_has_is_not_fetched_again(shelf):
    """pytest is here already, in whatever version; a peer itself must be the one that is pinned."""
    both = Peer("b", "1.0", "", packages=("tinypeer==1.0", "pytest==0.1"), imports=("pytest",))
    said = []
    peers.install(both, said.append)

    assert said == ["b: fetching tinypeer==1.0"]


def test_other_pins_are_another_peer(shelf, tiny):
    """A folder that was built from other pins, or was cut off, does not count."""
    peer = tiny.peers["tiny"]
    place = peers.install(peer)
    newer = Peer(**{**vars(peer), "packages": ("tinypeer==2.0",)})

    assert peers.absence(newer) == f"{NOT_INSTALLED}bugzoo peers install tiny"
    (place / peers.STAMP).unlink()
    assert not peers.installed(peer)


@pytest.mark.parametrize(
    ("packages", "imports", "words"),
    [
        (("nosuchpeer==1.0",), (), "peer 'p' cannot be installed: ERROR: No matching distribution"),
        (("tinypeer==1.0",), ("tinypeer.gone",), "fetched but cannot be imported: ModuleNotFound"),
    ],
)
def test_a_failed_install_is_one_message_and_leaves_nothing(shelf, packages, imports, words):
    """What pip or Python said last, and no half-built folder."""
    with pytest.raises(UserError, match=words):
        peers.install(Peer("p", "1.0", "", packages=packages, imports=imports))

    assert list(peers.home().iterdir()) == []


@pytest.mark.parametrize("package", ["torch==1.13.1", "torchcheck", "torch"])
def test_torch_and_loose_pins_are_refused(package):
    """A peer uses the torch that runs; every version is written down."""
    with pytest.raises(DetectorError, match="expected name==version, and never"):
        Peer("p", "1.0", "", packages=(package,))


def test_peers_are_listed(shelf):
    """Each with what it is, and why where no detector drives it."""
    listed = json.loads(CliRunner().invoke(cli, ["peers", "--json"]).output)
    by_name = {row["id"]: row for row in listed}

    assert by_name["torcheck"]["detectors"] == ["torcheck"]
    assert not any(row["installed"] for row in listed)
    assert all(row["version"] and row["about"] for row in listed)
    assert all(bool(row["detectors"]) != bool(row["why_not"]) for row in listed)
    text = CliRunner().invoke(cli, ["peers"]).output
    assert "not installed" in text and "cannot be run" not in text
    assert max(map(len, text.splitlines())) <= 80


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "expected names of peers, or --all"),
        (["torcheck", "--all"], "expected names of peers, or --all"),
        (["torchek"], "unknown peer 'torchek'. Did you mean torcheck"),
    ],
)
def test_absurd_installs_are_one_message(shelf, arguments, words):
    """What is expected, and what there is."""
    error = CliRunner().invoke(cli, ["peers", "install", *arguments]).exception

    assert isinstance(error, UserError)
    assert words in str(error)


def test_the_command_installs(shelf, tiny, tmp_path):
    """By name, of a detector from anywhere; then it is there already."""
    command = ["peers", "--detectors", str(tmp_path / "weigher.py"), "install", "tiny"]
    first, second = (CliRunner().invoke(cli, command).output for _ in range(2))

    assert "tiny 1.0: installed in " in first
    assert second == "tiny 1.0: installed already\n"


def test_the_document_has_every_peer(zoo):
    """Each tool and each detector that drives one stands in docs/peers.md."""
    words = (Path(__file__).parents[1] / "docs" / "peers.md").read_text()
    names = {*zoo.peers, *(n for n, d in zoo.detectors.items() if d.peer)}

    assert {n for n in names if f"`{n}`" not in words} == set()
    pairs = {f"`{p.name}` {p.version}" for p in zoo.peers.values()}
    assert {pair for pair in pairs if pair not in words} == set()


# -- the real ones, where they are installed

WRONG = {  # detector -> specimen and case that it alarms on; its correct twin passes there
    "gradients": ("layer_norm/batch_mean", "rows"),
    "jax_check_grads": ("layer_norm/batch_mean", "rows"),
    "lightning_anomaly": None,
    "mldoct": ("plain_step/never_zeroed", "sgd"),
    "numdifftools": ("layer_norm/batch_mean", "rows"),
    "opcheck": ("relu/writes_into_cotangent", "plain"),
    "pylops_dottest": ("layer_norm/batch_mean", "rows"),
    "pytest_torch_gradcheck": ("layer_norm/batch_mean", "rows"),
    "pytest_torch_training": ("plain_step/never_zeroed", "sgd"),
    "torch_audit": ("plain_step/zeroed_before_step", "sgd"),
    "torch_preflight": None,
    "torchdiag": ("plain_step/zeroed_before_step", "sgd"),
    "torcheck": ("plain_step/zeroed_before_step", "sgd"),
    "torchfix": None,
    "torchmortem": None,
    "torchtest": ("plain_step/zeroed_before_step", "sgd"),
    "torchtest2": ("layer_norm/batch_mean", "rows"),
}


def test_every_peer_has_an_example(zoo):
    """A detector with a peer that is added is tested here, or this fails."""
    assert {n for n, d in zoo.detectors.items() if d.peer} == set(WRONG)


@pytest.mark.parametrize("name", [n for n in WRONG if WRONG[n]])
def test_a_peer_catches_the_wrong_one_and_passes_the_right_one(zoo, name, tmp_path):
    """In its own packages, the verdicts twice the same."""
    peer = zoo.detectors[name].peer
    if not peers.installed(peer):
        pytest.skip(peers.absence(peer))
    specimen, case = WRONG[name]
    kind = "training" if zoo.specimens[specimen].kind == "loop" else "operation"
    cells = [Cell(name, s, kind, case, 0) for s in (specimen, zoo.specimens[specimen].base)]
    with Pool(zoo, jobs=1, log=tmp_path / "log", train=kind == "training", peer=peer) as pool:
        first, second = (dict(pool.run(cells, 60.0)) for _ in range(2))

    assert [first[c]["outcome"] for c in cells] == ["alarm", "clear"], first
    assert [first[c]["because"] for c in cells] == [second[c]["because"] for c in cells]
    assert any(sign.isdigit() for sign in first[cells[0]]["because"])


def test_the_cache_moves(monkeypatch, tmp_path):
    """BUGZOO_CACHE, or the user's own cache folder."""
    monkeypatch.setenv("BUGZOO_CACHE", str(tmp_path))
    assert peers.home() == tmp_path / "peers"
    monkeypatch.delenv("BUGZOO_CACHE")
    assert peers.home() == Path(os.path.expanduser("~/.cache/bugzoo/peers"))
