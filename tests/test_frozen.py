"""The frozen mutants: they load, they are wrong where the set says so, and a doctored set is found out."""

from collections import Counter
from dataclasses import replace

import pandas as pd
import pytest
import synthetic
from click.testing import CliRunner

from bugzoo import source
from bugzoo.cli import cli
from bugzoo.errors import UserError
from bugzoo.mutation import frozen
from bugzoo.mutation.operator import collected
from bugzoo.subject import subject
from bugzoo.trials.frame import load
from reports import mutants as report
from reports.operators import operators as by_operator

SILENT = [m for m in frozen.load() if m.silent]


def doctored(tmp_path, *rows):
    """A set of these rows, as a file."""
    path = tmp_path / "set.jsonl.gz"
    frozen.write(path, rows)
    return str(path)


def test_the_set_is_large_and_spread():
    """At least 2,000 wrong ones of at least 40 implementations, no operator above its share."""
    operators = Counter(m.operator for m in SILENT)

    assert len(SILENT) >= 2000
    assert len({m.specimen for m in SILENT}) >= 40
    assert max(operators.values()) <= frozen.MOST * len(SILENT)


def test_ids_are_unique_and_texts_compile():
    """One id, one mutant; every wrong one compiles."""
    assert len({m.name for m in frozen.load()}) == len(frozen.load())
    for m in frozen.drawn(SILENT, 100, seed=1):
        compile(m.text, m.name, "exec")


def test_none_is_retired(zoo):
    """While the catalog is as it was when the set was made; but those that are listed with a reason."""
    assert {m.id for m in frozen.load() if frozen.retired(m, zoo)} == set(frozen.RETIRED)


def test_every_theme_has_a_family():
    """A new theme of operators needs a line."""
    assert {o.theme for o in collected().values()} <= set(frozen.FAMILY)


def test_a_sample_is_awake_as_written(zoo):
    """Twenty of them, judged again."""
    assert [lie for m in frozen.drawn(SILENT, 20, seed=2) for lie in frozen.lies(m, zoo)] == []


def test_a_regime_beyond_the_cases_comes_along(zoo):
    """What shows only there is judged there."""
    beyond = [m for m in SILENT if any(case.startswith("+") for case in m.cases)]

    assert beyond
    assert [lie for m in beyond for lie in frozen.lies(m, zoo)] == []


def test_a_lie_is_caught(zoo, tmp_path):
    """A harmless text under the claims of a wrong one: exit code 1, and its name is said."""
    m = next(m for m in SILENT if m.specimen == "relu/relu")
    lie = replace(m, text=source.standalone(zoo.specimens["relu/relu"].cls))
    made = CliRunner().invoke(
        cli, ["verify", "--mutants", "--all", "--set", doctored(tmp_path, lie)]
    )

    assert made.exit_code == 1
    assert f"LIE {m.name}" in made.output


def test_a_case_that_is_gone_is_a_lie(zoo):
    """The set names a case; the specimen no longer has it."""
    m = replace(SILENT[0], cases={"nowhere": ("value",)})

    assert ["no such case" in lie for lie in frozen.lies(m, zoo)] == [True]


def test_retired_ones_are_reported_and_not_used(zoo, tmp_path):
    """One whose correct implementation has changed, one whose is gone."""
    first, second, third = [m for m in SILENT if m.specimen == "relu/relu"][:3]
    changed = replace(first, reference="0")
    gone = replace(second, specimen="relu/gone")
    path = doctored(tmp_path, changed, gone, third)
    made = CliRunner().invoke(cli, ["verify", "--mutants", "--set", path])

    assert made.exit_code == 0, made.output
    assert "1 retired: relu/relu has changed since" in made.output
    assert "1 retired: relu/gone is no longer in the catalog" in made.output
    assert [s.id for s in frozen.specimens(zoo, name=path)] == [third.name]


def test_what_is_written_is_read_again(tmp_path):
    """The same mutants in any order give the same bytes."""
    some = SILENT[:20]
    path = doctored(tmp_path, *some)
    before = (tmp_path / "set.jsonl.gz").read_bytes()
    doctored(tmp_path, *reversed(some))

    assert (tmp_path / "set.jsonl.gz").read_bytes() == before
    assert {m.id for m in frozen.load(path)} == {m.id for m in some}


def test_a_file_that_is_no_set_is_refused(tmp_path):
    """One clear message."""
    (tmp_path / "x.gz").write_bytes(b"no gzip")
    for name, said in (("x.gz", "not a set"), ("y.gz", "no set of mutants")):
        with pytest.raises(UserError, match=said):
            frozen.load(str(tmp_path / name))


def test_a_sample_depends_on_its_seed_alone():
    """It is spread: no operator comes twice before all others came once."""
    one, other = (frozen.drawn(listed, 200, seed=3) for listed in (SILENT, SILENT[::-1]))
    operators = Counter(m.operator for m in one)
    all_of = Counter(m.operator for m in SILENT)

    assert one == other
    assert one != frozen.drawn(SILENT, 200, seed=4)
    assert len(operators) == len(all_of)
    most = max(operators.values())
    assert all(n >= most - 1 or n == all_of[o] for o, n in operators.items())


def test_globs_choose_before_the_sample_is_drawn(zoo):
    """All of one file, by its name; none of the others."""
    chosen = frozen.specimens(zoo, 5, globs=("relu",))

    assert len(chosen) == 5
    assert {s.file for s in chosen} == {"relu"}


def test_a_subject_holds_the_text_of_the_mutant(zoo):
    """And says nothing of what it is; the correct class still has its own."""
    made = frozen.specimens(zoo, sample=5)[0]
    text = source.standalone(made.cls)

    assert subject(made, made.cases[0]).source == text
    assert text != source.standalone(zoo.specimens[made.base].cls)
    assert source.diff(zoo.specimens[made.base].cls, made.cls)


def test_harmless_ones_are_controls(zoo):
    """No label, and another id than any wrong one."""
    harmless = frozen.specimens(zoo, 20, healthy=True)

    assert {s.twin for s in harmless} == {"control"}
    assert not {s.id for s in harmless} & {m.name for m in SILENT}


def test_a_run_scores_them_apart(tmp_path):
    """Two detectors, ten wrong ones and two harmless; the tables of bugs made by hand have none."""
    asked = ["--mutants", "10", "--specimen", "*/m_*", "--out", str(tmp_path)]
    asked += ["--detector", "gradcheck", "--detector", "random_direction", "--jobs", "1"]
    made = CliRunner().invoke(cli, ["run", *asked])
    assert made.exit_code == 0, made.output
    results = load(tmp_path)
    mine = results.trials[results.trials["group"].eq("mutants")]
    table = pd.read_csv(tmp_path / "mutants.csv")

    assert mine["specimen"].nunique() == 12
    assert not results.meta["lies"]
    assert table["caught"].sum() > 0
    assert "/m_" not in (tmp_path / "kill_matrix.csv").read_text()
    board = pd.read_csv(tmp_path / "scoreboard.csv").set_index("detector")
    assert (board["bugs"] == 0).all()
    assert board["mutant recall"].to_dict() == table.set_index("detector")["recall"].to_dict()
    assert set(pd.read_csv(tmp_path / "operators.csv")["operator"]) <= set(mine["operator"])
    assert "collapsed" in made.output


def test_a_pattern_is_minimal_when_no_other_is_a_part_of_it():
    """{a} subsumes {a, b}; {b, c} stands."""
    patterns = {frozenset("a"), frozenset("ab"), frozenset("bc")}

    assert report.minimal(patterns) == {frozenset("a"), frozenset("bc")}


@pytest.mark.parametrize("given", ["0", "x", "-1"])
def test_a_sample_of_nothing_is_refused(given):
    """--mutants wants a whole number, at least 1."""
    made = CliRunner().invoke(cli, ["run", f"--mutants={given}"])

    assert isinstance(made.exception, UserError)


def test_breeding_again_gives_what_is_frozen(tmp_path):
    """Class, cases and text of every mutant of an implementation, in another process."""
    path = str(tmp_path / "relu.jsonl.gz")
    made = CliRunner().invoke(
        cli, ["breed", "--specimen", "relu/relu", "--out", path, "--jobs", "1"]
    )
    assert made.exit_code == 0, made.output
    mine = [m for m in frozen.load() if m.specimen == "relu/relu"]

    assert [replace(m, witness={}) for m in frozen.load(path)] == [
        replace(m, witness={}) for m in mine
    ]


def test_pairs_are_bred_on_request_and_hold(zoo, tmp_path):
    """Two operators each, the same for one seed; the oracle bears them out."""
    paths = [str(tmp_path / f"{n}.jsonl.gz") for n in range(2)]
    for path in paths:
        asked = ["--specimen", "sigmoid/sigmoid", "--pairs", "6", "--seed", "5", "--out", path]
        made = CliRunner().invoke(cli, ["breed", *asked, "--jobs", "1"])
        assert made.exit_code == 0, made.output
    one, other = map(frozen.load, paths)

    assert one == other and len(one) == 6
    assert all(m.operator.count(" + ") == 1 for m in one)
    assert not any(lie for m in one if m.silent for lie in frozen.lies(m, zoo))


def test_recall_by_operator():
    """Two operators, the harder one first; what is beyond the claim does not count."""
    said = (
        *(("a", 1, "drop", "alarm"), ("a", 2, "drop", "alarm"), ("a", 3, "keep", "clear")),
        *(("b", 1, "drop", "clear"), ("b", 2, "drop", "alarm"), ("b", 3, "keep", "clear")),
    )
    rows = [
        {"detector": d, "specimen": f"s/m_{n}", "group": "mutants", "operator": o, "outcome": said}
        for d, n, o, said in said
    ]
    rows += [{**rows[0], "specimen": "s/m_4", "claimed": False}]

    assert by_operator(synthetic.trials(*rows)).to_dict("records") == [
        {"operator": "keep", "mutants": 1, "a": 0.0, "b": 0.0},
        {"operator": "drop", "mutants": 2, "a": 1.0, "b": 0.5},
    ]


def test_the_table_counts_as_it_says():
    """Three wrong ones, one beyond the claim, one harmless; a hand-made bug is left out."""
    rows = [
        {
            "detector": d,
            "specimen": f"s/m_{n}",
            "group": "mutants",
            "outcome": outcome,
            "claimed": c,
        }
        for d, n, outcome, c in (
            *(("a", 1, "alarm", True), ("a", 2, "alarm", True), ("a", 3, "alarm", False)),
            *(("b", 1, "clear", True), ("b", 2, "alarm", True), ("b", 3, "clear", True)),
        )
    ]
    harmless = {"twin": "control", "specimen": "s/m_4", "awake": False, "outcome": "alarm"}
    rows += [{"detector": "b", "group": "mutants", **harmless}]
    rows += [{"detector": "a", "group": "operations", "specimen": "s/bug", "outcome": "clear"}]
    a, b = report.mutants(synthetic.trials(*rows)).to_dict("records")

    assert [a[k] for k in ("detector", "mutants", "claimed", "caught", "beyond")] == [
        "a",
        3,
        2,
        2,
        1,
    ]
    assert (a["recall"], b["recall"]) == (1, pytest.approx(1 / 3))
    assert (a["patterns"], a["minimal"], a["collapsed"], b["collapsed"]) == (2, 1, 1, 0)
    assert (b["harmless"], b["false alarms"], a["harmless"]) == (1, 1, 0)
