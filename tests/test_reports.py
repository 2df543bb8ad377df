"""The tables: statistics against known answers, the counting by hand, golden files, edge cases."""

import hashlib
import io
import os
import subprocess
import sys
from itertools import product
from math import isnan
from pathlib import Path

import pandas as pd
import pytest
import synthetic
from scipy.stats import binomtest
from sklearn.metrics import matthews_corrcoef

from bugzoo.errors import UserError
from bugzoo.trials.frame import COLUMNS
from reports import _rates, _scan, _text, _units, _write
from reports._facts import facts

GOLDEN = Path(__file__).parent / "golden"
TABLES = _scan.tables()
RESULTS = synthetic.results()
LARGE = synthetic.large(30, 10, 40, 1)
trials = synthetic.trials
each_table = pytest.mark.parametrize("table", TABLES.values(), ids=TABLES)


def row_of(name, frame):
    """The only row of the table `name` on `frame`, as a dict."""
    (row,) = TABLES[name](frame).to_dict("records")
    return row


def states(*rows):
    """The state of the only detector and bug."""
    return _units.bugs(trials(*rows))["state"].tolist()


# --- statistics against known answers


@pytest.mark.parametrize(
    "k, n, low, high",
    [
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0, 0.1611),
        (1, 29, 0.0061, 0.1718),
    ],
)
def test_wilson_agrees_with_a_published_table(k, n, low, high):
    """Newcombe, Statistics in Medicine 17, 1998, table I, method 3."""
    assert _rates.wilson(k, n) == pytest.approx((low, high), abs=5e-5)


@pytest.mark.parametrize("n", [1, 2, 7, 40, 347])
def test_wilson_agrees_with_scipy(n):
    """An independent implementation, for every k."""
    for k in range(n + 1):
        other = binomtest(k, n).proportion_ci(0.95, method="wilson")

        assert _rates.wilson(k, n) == pytest.approx((other.low, other.high), abs=1e-12)


def test_wilson_stays_inside_and_is_exact_at_the_ends():
    """0 of n starts at 0, n of n ends at 1, and nothing of nothing is NaN."""
    assert _rates.wilson(0, 9)[0] == 0.0
    assert _rates.wilson(9, 9)[1] == 1.0
    assert all(map(isnan, _rates.wilson(0, 0)))


def test_mcc_agrees_with_sklearn():
    """All tables with both kinds of specimen, degenerate ones included."""
    for tp, fn, fp, tn in product(range(4), repeat=4):
        if tp + fn and fp + tn:
            truth = [1] * (tp + fn) + [0] * (fp + tn)
            said = [1] * tp + [0] * fn + [1] * fp + [0] * tn

            assert _rates.mcc(tp, fn, fp, tn) == pytest.approx(matthews_corrcoef(truth, said))


def test_mcc_is_nan_without_bugs_or_without_healthy_specimens():
    """There is nothing to correlate."""
    assert isnan(_rates.mcc(0, 0, 1, 1))
    assert isnan(_rates.mcc(1, 1, 0, 0))


def test_youden_by_hand():
    """3 of 4 bugs, 1 of 5 healthy: 0.75 + 0.8 - 1. A coin has 0, whatever the numbers."""
    assert _rates.youden(3, 1, 1, 4) == pytest.approx(0.55)
    assert _rates.youden(10, 10, 2, 2) == 0.0
    assert isnan(_rates.youden(1, 1, 0, 0))


# --- the unit is the bug


def seeds(*outcomes, **row):
    return [{"seed": n, "outcome": o, **row} for n, o in enumerate(outcomes)]


def test_a_bug_is_caught_by_more_than_half_of_the_seeds():
    """Two of three catch; one of two, or one of three, do not."""
    assert states(*seeds("alarm", "alarm", "clear")) == ["caught"]
    assert states(*seeds("alarm", "clear")) == ["missed"]
    assert states(*seeds("alarm", "clear", "clear")) == ["missed"]


def test_one_awake_case_is_enough():
    """Caught in one case and missed in two is one bug caught, not a third."""
    rows = [*seeds("clear", case="a"), *seeds("alarm", case="b"), *seeds("clear", case="c")]

    row = row_of("scoreboard", trials(*rows))

    assert (row["bugs"], row["caught"], row["recall"]) == (1, 1, 1.0)


def test_an_alarm_where_the_bug_is_dormant_catches_nothing():
    """The gradient is right in that case, so there was nothing to see."""
    dormant = seeds("alarm", case="a", awake=False)

    assert states(*dormant, *seeds("clear", case="b")) == ["missed"]
    assert states(*dormant) == ["dormant"]


@pytest.mark.parametrize("failure", ["raised", "error", "timeout", "crash"])
def test_a_failure_is_never_a_detection(failure):
    """Three failures miss; and among the seeds of a case they count against the alarm."""
    assert states(*seeds(failure, failure, failure)) == ["failed"]
    assert states(*seeds("alarm", failure)) == ["missed"]
    assert row_of("scoreboard", trials(*seeds(failure)))["caught"] == 0


def test_abstaining_is_a_miss_of_its_own_kind():
    """It is in the denominator, and told apart from looking and not seeing."""
    assert states(*seeds("abstain", "abstain")) == ["abstained"]
    assert states(*seeds("abstain", "clear")) == ["missed"]
    assert row_of("scoreboard", trials(*seeds("abstain")))["recall"] == 0.0


def test_loud_bugs_are_scored_apart():
    """An alarm on a pass that raises by itself is no catch; a silent case of that bug still counts."""
    loud = seeds("alarm", case="a", loud=True)

    assert states(*loud) == ["loud"]
    assert row_of("scoreboard", trials(*loud))["bugs"] == 0
    assert states(*loud, *seeds("clear", case="b")) == ["missed"]


def test_a_detector_is_not_charged_with_what_it_cannot_run():
    """A loop is neither hit nor miss for a detector that needs an operation."""
    loop = seeds("not_applicable", specimen="loop/bug", kind="loop", view="training", seconds=99.0)

    row = row_of("scoreboard", trials(*seeds("alarm"), *loop))

    assert (row["bugs"], row["recall"], row["median seconds"]) == (1, 1.0, 1.0)


def test_false_alarms_are_by_run_and_precision_by_specimen():
    """Ten runs on two healthy specimens, four alarmed; one specimen of the two by a majority."""
    rows = [
        *seeds("alarm", specimen="s/bug"),
        *seeds("alarm", "alarm", "alarm", "clear", "clear", specimen="s/s", twin="correct"),
        *seeds("alarm", "clear", "clear", "clear", "clear", specimen="c/c", twin="control"),
    ]

    row = row_of("scoreboard", trials(*rows))

    assert row["false alarms"] == pytest.approx(0.4)
    assert row["precision"] == pytest.approx(1 / 2)
    assert row["J"] == pytest.approx(1 + 1 / 2 - 1)


def test_the_scoreboard_is_sorted_by_recall_then_false_alarms_then_name():
    """Ties end with the name, so the order never depends on the order of the trials."""
    rows = [
        *seeds("clear", detector="weak"),
        *(r for d in "bac" for r in seeds("alarm", detector=d)),
        *seeds("alarm", detector="a", specimen="s/s", twin="correct"),
        *(r for d in "bc" for r in seeds("clear", detector=d, specimen="s/s", twin="correct")),
    ]

    assert TABLES["scoreboard"](trials(*rows))["detector"].tolist() == ["b", "c", "a", "weak"]


# --- the other tables by hand


def test_catch_matrix_leaves_empty_what_cannot_be_shown():
    """Detector e never ran the bug of the second family."""
    rows = [
        *seeds("alarm", family="scaling"),
        *seeds("clear", specimen="t/bug", family="wrong-math"),
        *seeds("alarm", detector="e", family="scaling"),
    ]

    table = TABLES["catch_matrix"](trials(*rows))

    assert table.columns.tolist() == ["detector", "all", "scaling", "wrong-math"]
    assert table.to_numpy().tolist() == [["d", "1/2", "1/1", "0/1"], ["e", "1/1", "1/1", ""]]


def test_kill_matrix_has_a_word_for_every_pair():
    """Pairs without any trial are not applicable."""
    rows = [*seeds("alarm"), *seeds("error", specimen="t/bug"), *seeds("clear", detector="e")]

    table = TABLES["kill_matrix"](trials(*rows))

    assert table.to_numpy().tolist() == [
        ["s/bug", "caught", "missed"],
        ["t/bug", "failed", "not applicable"],
    ]


def test_blind_spots_name_the_lone_catcher():
    """Caught by nobody first; what two catch is no blind spot."""
    rows = [
        *(r for d in "de" for r in seeds("alarm", detector=d, specimen="both/bug")),
        *seeds("alarm", specimen="one/bug"),
        *seeds("clear", detector="e", specimen="one/bug"),
        *seeds("clear", specimen="none/bug"),
    ]

    table = TABLES["blind_spots"](trials(*rows))

    assert table[["bug", "caught by", "could see"]].to_numpy().tolist() == [
        ["none/bug", "nobody", 1],
        ["one/bug", "d", 2],
    ]


def test_false_alarms_tell_the_reason_of_the_highest_score():
    """One of three seeds is listed, though it does not count."""
    rows = seeds("alarm", "alarm", "clear", "clear", "clear", specimen="c/c", twin="control")
    rows[0] |= {"score": 1.0, "because": "one"}
    rows[1] |= {"score": 2.0, "because": "two"}

    row = row_of("false_alarms", trials(*rows))

    assert (row["alarms"], row["runs"], row["counts"], row["because"]) == (2, 5, "no", "two")


def test_reached_puts_every_bug_in_one_column():
    """On the synthetic run and on a large one the parts sum up to the whole."""
    for frame in (RESULTS.trials, LARGE.trials):
        t = TABLES["reached"](frame)

        assert t["bugs"].eq(t["n/a"] + t["loud"] + t["dormant"] + t["awake"]).all()
        assert t["awake"].eq(t["caught"] + t["not seen"] + t["abstained"] + t["failed"]).all()
        assert t.set_index("detector")["awake"].to_dict() == (
            TABLES["scoreboard"](frame).set_index("detector")["bugs"].to_dict()
        )


def test_claims_part_what_is_claimed_from_what_is_beyond():
    """A bug is claimed when it is awake in a claimed channel in some case."""
    rows = [
        *seeds("alarm", case="a", claimed=False),
        *seeds("clear", case="b", claimed=True),
        *seeds("alarm", specimen="t/bug", claimed=False),
    ]

    row = row_of("claims", trials(*rows))

    assert (row["claimed"], row["caught"], row["beyond"], row["caught beyond"]) == (1, 1, 1, 1)


def test_views_are_counted_apart_and_pooled_in_the_scoreboard():
    """Seen in training only: half of the rows, all of the bugs."""
    rows = [*seeds("clear", view="operation"), *seeds("alarm", view="training")]

    table = TABLES["views"](trials(*rows))

    assert table[["view", "caught", "bugs"]].to_numpy().tolist() == [
        ["operation", 0, 1],
        ["training", 1, 1],
    ]
    assert row_of("scoreboard", trials(*rows))["recall"] == 1.0


def test_cost_is_over_the_runs_that_had_something_to_look_at():
    """Median, 95th percentile and total of 1, 2 and 6 seconds."""
    rows = seeds("clear", "error", "alarm", "not_applicable")
    for row, seconds in zip(rows, (1.0, 2.0, 6.0, 100.0)):
        row["seconds"] = seconds

    row = row_of("cost", trials(*rows))

    assert (row["runs"], row["median seconds"], row["total seconds"]) == (3, 2.0, 9.0)
    assert row["p95 seconds"] == pytest.approx(5.6)


# --- every table that the scan finds


@each_table
def test_it_has_a_sentence_of_one_line(table):
    """It is printed above the table."""
    assert table.sentence.endswith(".")
    assert table.sentence[0].isupper()


@each_table
def test_it_is_the_golden_file(table):
    """BUGZOO_GOLDEN=write renews the files; look at the diff before you commit it."""
    made = table(RESULTS.trials)
    for kind, words in (("csv", _text.csv(made)), ("txt", _text.text(made, table.sentence))):
        path = GOLDEN / f"{table.name}.{kind}"
        if os.environ.get("BUGZOO_GOLDEN") == "write":
            path.write_text(words, encoding="utf-8", newline="\n")

        assert path.read_bytes().decode() == words


@each_table
def test_it_does_not_depend_on_the_order_of_the_trials(table):
    """Rows in reverse give the same table."""
    backwards = RESULTS.trials.iloc[::-1].reset_index(drop=True)

    pd.testing.assert_frame_equal(table(backwards), table(RESULTS.trials))


@each_table
def test_it_leaves_the_trials_as_they_are(table):
    """A report reads, it never writes into the frame."""
    before = RESULTS.trials.copy(deep=True)
    table(RESULTS.trials)

    pd.testing.assert_frame_equal(RESULTS.trials, before)


@each_table
@pytest.mark.parametrize("typed", [True, False])
def test_an_empty_frame_gives_an_empty_table(table, typed):
    """With the columns' types or without them, in every way of writing."""
    empty = RESULTS.trials.head(0) if typed else pd.DataFrame(columns=list(COLUMNS))
    made = table(empty)

    assert made.empty
    assert table(RESULTS.trials).columns[0] == made.columns[0]
    assert "(no rows)" in _text.text(made, table.sentence)
    assert _text.csv(made).count("\n") == 1


@each_table
@pytest.mark.parametrize("outcome", ["alarm", "clear", "not_applicable", "crash"])
@pytest.mark.parametrize("twin", ["broken", "correct"])
def test_one_trial_is_enough(table, outcome, twin):
    """Of any outcome, on a bug or on a healthy specimen."""
    made = table(trials({"outcome": outcome, "twin": twin, "specimen": "s/one"}))

    assert len(made) <= 1
    assert _text.text(made).isascii()


@each_table
@pytest.mark.parametrize("width", [80, 120])
def test_its_text_fits_the_terminal(table, width):
    """Also with forty detectors and long names, to the last column."""
    for frame in (RESULTS.trials, LARGE.trials):
        text = _text.text(table(frame), table.sentence, width)

        assert max(map(len, text.splitlines())) <= width
        assert "\x1b" not in text


def test_an_unknown_report_is_a_message():
    """With the name that was meant."""
    with pytest.raises(UserError, match=r"'scorebord'\. Did you mean scoreboard"):
        _scan.table("scorebord")


# --- writing


def test_text_wraps_what_is_too_long_and_loses_nothing():
    """Words of any length are cut, and every letter is still there."""
    frame = pd.DataFrame({"a": ["N" * 200, "b"], "c": [1, 2], "d": ["W" * 300, "short"]})

    text = _text.text(frame)

    assert max(map(len, text.splitlines())) <= 80
    assert (text.count("N"), text.count("W")) == (200, 300)


def test_states_become_one_sign_each():
    """The legend says which; a table with any other word keeps its words."""
    text = _text.text(TABLES["kill_matrix"](RESULTS.trials))

    assert "# caught" in text
    assert next(x for x in text.splitlines() if x.startswith("relu/closed")).split()[1:] == list(
        "##._#"
    )
    assert not _text.is_states(TABLES["scoreboard"](RESULTS.trials))


def test_markdown_cannot_be_broken_by_a_reason():
    """Bars and tags in a cell are escaped, a line break is a blank."""
    table = _text.markdown(pd.DataFrame({"a": ["x | y"], "b": ["<b>\nbold"]}))

    assert table.splitlines()[-1] == "| x \\| y | &lt;b> bold |"


@each_table
def test_csv_reads_back(table):
    """Six digits of every number, every word as it was."""
    made = table(RESULTS.trials)
    read = pd.read_csv(io.StringIO(_text.csv(made)), keep_default_na=False, na_values=[""])

    pd.testing.assert_frame_equal(
        read.fillna(""), made.astype(read.dtypes.to_dict()).fillna(""), rtol=1e-5
    )


def test_facts_say_what_the_run_was():
    """Versions, filters as they were given; a run without a wall time was cut off."""
    whole = dict(facts(RESULTS.meta))
    cut = dict(facts({k: v for k, v in RESULTS.meta.items() if k != "wall_seconds"}))

    assert whole["torch"] == "2.13.0"
    assert whole["selection"] == "specimen relu, m*"
    assert whole["wall time, s"] == "83.4"
    assert cut["wall time, s"] == "cut off before the end"
    assert facts({}) == []


def test_write_makes_a_file_a_table_and_two_pages(tmp_path):
    """All of them in a folder that did not exist."""
    paths = _write.write(RESULTS, tmp_path / "new" / "folder")

    assert [p.name for p in paths] == [
        *(f"{name}.csv" for name in TABLES),
        "report.md",
        "report.html",
    ]
    assert all(p.stat().st_size for p in paths)


def test_a_folder_that_cannot_be_made_is_a_message(tmp_path):
    """A file stands where the folder should be."""
    (tmp_path / "file").write_text("")

    with pytest.raises(UserError, match="cannot be written"):
        _write.write(RESULTS, tmp_path / "file")


REBUILD = """
import hashlib, pathlib, sys
import synthetic
from reports import _write
paths = _write.write(synthetic.results(), sys.argv[1])
print(hashlib.sha256(b"".join(p.read_bytes() for p in paths)).hexdigest(), "torch" in sys.modules)
"""


def test_reports_are_rebuilt_to_the_byte_and_without_torch(tmp_path):
    """In other processes, with other hashes, another time zone, another locale."""
    here = hashlib.sha256(b"".join(p.read_bytes() for p in _write.write(RESULTS, tmp_path / "0")))
    root = Path(__file__).parent
    for n, (zone, locale) in enumerate([("UTC", "C"), ("Asia/Tokyo", "C.UTF-8")], start=1):
        there = os.environ | {"PYTHONHASHSEED": str(n), "TZ": zone, "LC_ALL": locale}
        there["PYTHONPATH"] = f"{root}{os.pathsep}{root.parent}"
        command = [sys.executable, "-c", REBUILD, str(tmp_path / str(n))]
        out = subprocess.run(command, env=there, capture_output=True, text=True, check=True).stdout

        assert out.split() == [here.hexdigest(), "False"]
