"""The HTML page: whole, offline, safe against what it shows, and alive in a browser."""

import json
import re
import shutil
import subprocess
from collections import Counter
from dataclasses import replace
from html import unescape
from html.parser import HTMLParser

import pandas as pd
import pytest
import synthetic

from reports import _code, _plot, _scan, _write
from reports.scoreboard import scoreboard

RESULTS = synthetic.results()
CHROMIUM = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), ""
)
VOID = {"meta", "link", "br", "input", "line", "circle", "polyline", "wbr", "img", "hr"}


class Parsed(HTMLParser):
    """Tags with their attributes, ids, text by element; complains about tags that do not match."""

    def __init__(self, page: str):
        super().__init__()
        self.tags: list[tuple[str, dict]] = []
        self.open: list[str] = []
        self.data: dict[str, str] = {}
        self.problems: list[str] = []
        self.feed(page)
        self.close()

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))

    def handle_endtag(self, tag):
        if not self.open or self.open.pop() != tag:
            self.problems.append(f"</{tag}> at {self.getpos()}")

    def handle_data(self, words):
        last = self.open[-1] if self.open else ""
        self.data[last] = self.data.get(last, "") + words

    def values(self, name: str) -> list[str]:
        return [a[name] for _, a in self.tags if name in a]


def made(results, folder):
    """The page that `write` makes."""
    _write.write(results, folder)
    return (folder / "report.html").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    return made(RESULTS, tmp_path_factory.mktemp("page"))


@pytest.fixture(scope="module")
def parsed(page):
    return Parsed(page)


@pytest.fixture(scope="module")
def large(tmp_path_factory):
    return made(synthetic.large(seeds=1), tmp_path_factory.mktemp("large"))


# --- the file


def test_every_tag_is_closed_and_every_id_is_the_only_one(parsed):
    """A parser that knows nothing of repairs gets through."""
    counts = Counter(parsed.values("id"))

    assert parsed.problems == []
    assert parsed.open == []
    assert [i for i, n in counts.items() if n > 1] == []


def test_nothing_is_loaded_from_anywhere(page, parsed):
    """No source, no style sheet, no import, no font; the policy forbids it besides."""
    policy = next(a["content"] for _, a in parsed.tags if "http-equiv" in a)

    assert policy.startswith("default-src 'none'")
    assert parsed.values("src") == []
    assert {"link", "img", "iframe", "object", "base"}.isdisjoint(t for t, _ in parsed.tags)
    assert not re.search(r"url\(|@import|fetch\(|XMLHttpRequest|import\s*\(", page)


def test_addresses_outside_are_links_and_only_of_the_web(parsed):
    """The label's address is a link; one with another scheme is text."""
    outside = {h for h in parsed.values("href") if not h.startswith("#")}

    assert outside == {"https://example.org/issues/1?a=1&b=2"}


def test_every_link_inside_leads_somewhere(parsed):
    """Sections, detectors, specimens."""
    ids = set(parsed.values("id"))

    assert {h[1:] for h in parsed.values("href") if h.startswith("#")} <= ids


def test_every_specimen_and_every_detector_has_its_place(parsed):
    """Bugs, controls and correct twins alike."""
    ids = set(parsed.values("id"))

    assert {f"specimen/{name}" for name in RESULTS.specimens} <= ids
    assert {f"detector/{name}" for name in RESULTS.detectors} <= ids


def test_every_table_of_the_scan_is_on_the_page(parsed):
    """A new report needs no line here; the kill matrix is drawn by the script."""
    shown = {i.partition("/")[2] for i in parsed.values("id") if i.startswith("table/")}

    assert shown | {"scoreboard", "kill_matrix"} == set(_scan.tables())


def test_what_a_bug_says_of_itself_is_there(page):
    """Label, story, claims, diff, witness."""
    bug = page.partition('id="specimen/relu/closed_mask"')[2].partition("</details>")[0]
    text = " ".join(unescape(re.sub(r"<[^>]*>", _blank, bug)).split())

    for words in (
        "the mask is x >= 0 where it should be x > 0",
        "Found in a <residual> block.",  # the backticks made it code
        "shown by plain hidden by zeros",
        "− return g * (x > 0)",
        "+ return g * (x >= 0) # </script>",
        "dx0[1, 2] is 1.5 where 2 is right 0.25 random cotangent autograd of the reference",
        "on 3 probes a case: value in plain, strided, network; side_effect, memory, contract",
        "caught by 3 of 4",
    ):
        assert words in text


def _blank(tag):
    return " " if tag[0].startswith("</") and "span" not in tag[0] else ""


def test_text_of_others_cannot_become_markup(page, parsed):
    """Reasons hold </script> and tags: they are data inside JSON, and text everywhere else."""
    data = page.partition('id="data">')[2].partition("</script>")[0]

    assert "<" not in data
    assert page.count("</script") == 2
    assert "residual" not in {tag for tag, _ in parsed.tags}
    assert "it is always wrong </script><b>&amp;" in json.loads(data)["texts"]


def test_the_matrix_is_in_the_data(page):
    """One letter a detector, in the order of the scoreboard; C where no awake case is missed."""
    data = json.loads(page.partition('id="data">')[2].partition("</script>")[0])
    letters = {row[0]: row[3] for row in data["bugs"]}

    assert data["detectors"] == scoreboard(RESULTS.trials)["detector"].tolist()
    assert letters["relu/closed_mask"] == "CmCdC"
    assert letters["relu/writes_into_cotangent"] == "Ccmdm"
    assert letters["matmul/returns_none"] == "lllll"
    assert letters["accumulate/not_divided"] == "nnnam"


def test_a_large_run_stays_a_few_megabytes(large):
    """120 bugs, 60 healthy specimens, 40 detectors, 6 cases: no element a trial."""
    assert len(large.encode()) < 6_000_000
    assert large.count("<") < 150_000


def test_a_run_without_trials_still_makes_a_page(tmp_path):
    """Nothing selected, or interrupted at once."""
    empty = replace(RESULTS, trials=RESULTS.trials.head(0), truth=RESULTS.truth.head(0))

    bare = replace(empty, specimens={}, detectors={}, meta={}, truth=pd.DataFrame())

    for n, some in enumerate([empty, bare]):
        assert Parsed(made(some, tmp_path / str(n))).problems == []


def test_claims_that_do_not_hold_are_said_at_the_top(page, tmp_path):
    """What the oracle does not bear out is no fine print."""
    lying = replace(RESULTS, meta=RESULTS.meta | {"lies": ["relu/relu in plain: <says> broken"]})
    head = made(lying, tmp_path).partition("<main>")[0]

    assert "1 claim of the labels is not borne out by the oracle" in head
    assert "&lt;says&gt; broken" in head
    assert "borne out" not in page.partition("<main>")[0]


def test_a_detector_that_nobody_describes_is_still_shown(tmp_path):
    """It has trials, but its file is gone."""
    parsed = Parsed(made(replace(RESULTS, detectors={}), tmp_path))

    assert "detector/difference" in parsed.values("id")


def test_a_diff_keeps_every_line_and_marks_those_that_differ():
    """Header lines go, code is highlighted, quotes that stay open do not swallow the next line."""
    lines = str(_code.diff('--- a\n+++ b\n@@ -1 +1 @@\n def f():\n-    x = """\n+    x = 1\n'))
    text = unescape(re.sub(r"<[^>]*>", "", lines))

    assert text.splitlines() == [" def f():", '−    x = """', "+    x = 1"]
    assert lines.count('class="line cut"') == lines.count('class="line add"') == 1


# --- the pictures


def board(*rows):
    columns = ["detector", "recall", "false alarms", "J"]
    return pd.DataFrame(rows, columns=columns)


def test_the_pareto_front_by_hand():
    """b dominates c, which is dearer, and f, which costs the same; e ties with b and stands beside it;
    a coin and a detector that never alarms are out of the comparison."""
    some = board(
        ("a", 0.2, 0.0, 0.2),
        ("b", 0.8, 0.0, 0.8),
        ("c", 0.7, 0.1, 0.6),
        ("d", 0.9, 0.0, 0.9),
        ("e", 0.8, 0.0, 0.8),
        ("f", 0.3, 0.0, 0.3),
        ("coin", 1.0, 1.0, 0.0),
        ("blind", 0.0, 0.0, 0.0),
    )

    plot = _plot.against(some, pd.Series([0.01, 0.1, 0.2, 1.0, 0.1, 0.1, 0.001, 0.0001]), "seconds")

    assert [p.name for p in plot.points if p.front] == ["a", "b", "d", "e"]
    assert len(plot.front) == 2 * 3 + 1


def test_labels_do_not_cover_points_or_each_other():
    """Where there is no room a point has no label; its name is in the tooltip."""
    some = board(*((f"detector_{n}", (n * 37 % 40) / 40, 0.0, 0.5) for n in range(40)))

    points = _plot.against(some, pd.Series([1.3**n for n in range(40)]), "seconds").points
    labels = [p for p in points if p.label]

    assert 5 < len(labels) < 40
    for p in labels:
        x, y, anchor = p.label
        left = x - _plot.LETTER * len(p.name) * {"start": 0, "middle": 0.5, "end": 1}[anchor]
        box = (left, y - 10, left + _plot.LETTER * len(p.name), y + 3)
        assert not any(
            box[0] < q.x < box[2] and box[1] < q.y < box[3] for q in points if q is not p
        )


def test_costs_of_zero_have_a_place_where_they_are_counted():
    """A detector that reads the source spends no pass; nobody can be placed at zero seconds."""
    some = board(("reads", 0.5, 0.0, 0.5), ("runs", 0.6, 0.0, 0.6))

    counted = _plot.against(some, pd.Series([0.0, 8.0]), "passes", zero=True)
    timed = _plot.against(some, pd.Series([0.0, 8.0]), "seconds")

    assert counted.points[0].x == _plot.LEFT
    assert [p.name for p in timed.points] == ["runs"]


# --- in a browser

CHECK = """
<script>
const wait = (ms) => new Promise((done) => setTimeout(done, ms));
const shown = (css) => all(css).filter((e) => e.getClientRects().length).length;
const first = () => byId("tables").querySelector("tbody th").textContent;
const heading = (words) => all("#tables thead button").find((b) => b.textContent === words);
(async () => {
  const seen = {};
  try {
    await wait(50);
    seen.overflow = document.documentElement.scrollWidth - innerWidth;
    seen.cells = all("#grid td").length;
    seen.before = first();
    heading("MCC").click();
    seen.byMcc = first();
    heading("MCC").click();
    seen.byMccRising = first();
    heading("detector").click();
    seen.byName = first();

    const text = filters.querySelector("input");
    text.value = "cotangent RELU";
    text.dispatchEvent(new Event("input", { bubbles: true }));
    seen.filtered = [all("#grid tr[data-id]").length, shown("details.bug")];
    seen.count = filters.querySelector("output").textContent;
    filters.reset();
    await wait(20);
    for (const [name, value] of [["family", "scaling"], ["channel", "value"], ["order", "rare"]]) {
      filters.elements[name].value = value;
      show();
      seen[name] = all("#grid tr[data-id]").map((row) => row.dataset.id);
      filters.reset();
    }
    await wait(20);
    seen.reset = [all("#grid tr[data-id]").length, shown("details.bug")];

    const td = byId("grid").querySelector("td[tabindex='0']");
    td.focus();
    td.dispatchEvent(new KeyboardEvent("keydown", { key: "ArrowDown", bubbles: true }));
    document.activeElement.dispatchEvent(new KeyboardEvent("keydown", { key: "ArrowRight", bubbles: true }));
    seen.moved = byId("status").textContent;
    seen.stops = all("#grid [tabindex='0']").length;
    document.activeElement.dispatchEvent(new KeyboardEvent("keydown", { key: "Enter", bubbles: true }));
    await wait(50);
    seen.hash = decodeURIComponent(location.hash);
    seen.open = all("details.bug[open]").map((d) => d.dataset.specimen);
    seen.here = all("tr.here").map((r) => r.textContent.replace(/\\s+/g, " "));
    document.activeElement.click();
    seen.more = all("tr.more").map((r) => r.cells[1].textContent + ": " + r.cells[2].textContent);
    document.activeElement.click();
    seen.less = all("tr.more").length;

    location.hash = "#detector/difference";
    await wait(50);
    seen.lists = all("details[data-detector=difference] .lists h3").map((h) => h.textContent);
    byId("open-all").click();
    await wait(50);
    seen.verdicts = all("details.bug .verdicts tbody tr").length;
    seen.markup = all(".verdicts b").length;
    seen.overflowOpen = document.documentElement.scrollWidth - innerWidth;
  } catch (error) {
    seen.error = String(error.stack);
  }
  parent.postMessage(JSON.stringify(seen), "*");
})();
</script>
"""
FRAME = """<body style="margin:0"><iframe src="page.html" style="border:0;width:{}px;height:900px"></iframe>
<pre id="out"></pre><script>onmessage = (e) => {{ out.textContent = e.data; }}</script>"""


def browse(page, folder, width=1400):
    """What CHECK saw of the page in a frame of this width, and what was said on the console."""
    (folder / "page.html").write_text(page.replace("</body>", CHECK + "</body>"), encoding="utf-8")
    (folder / "frame.html").write_text(FRAME.format(width), encoding="utf-8")
    command = [CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--enable-logging=stderr"]
    command += [f"--user-data-dir={folder / 'profile'}", "--window-size=1500,1000"]
    command += ["--virtual-time-budget=8000", "--dump-dom", f"file://{folder / 'frame.html'}"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    console = [line for line in done.stderr.splitlines() if "CONSOLE" in line]
    out = re.search(r'<pre id="out">(.*?)</pre>', done.stdout, re.DOTALL)
    assert out is not None
    return json.loads(unescape(out[1]) or "{}"), console


in_browser = [
    pytest.mark.browser,
    pytest.mark.skipif(not CHROMIUM, reason="no chromium, chromium-browser or google-chrome found"),
]


@pytest.fixture(scope="module")
def wide(page, tmp_path_factory):
    return browse(page, tmp_path_factory.mktemp("wide"))


class TestBrowser:
    pytestmark = in_browser

    def test_the_console_is_silent(self, wide):
        """No error, no refused resource; the checks themselves ran to their end."""
        seen, console = wide

        assert console == []
        assert "error" not in seen
        assert seen["verdicts"] > 0

    def test_an_error_on_the_page_would_be_noticed(self, page, tmp_path):
        """A script that fails and a picture from outside are on the console; what is too wide is seen."""
        broken = page.replace("show();\nfollow();", "show();\nmissing();").replace(
            "<main>", '<main style="width: 500px"><img alt="" src="https://example.org/x.png">'
        )

        seen, console = browse(broken, tmp_path, 400)

        assert any("missing is not defined" in line for line in console)
        assert any("Content Security Policy" in line for line in console)
        assert seen["overflow"] > 0

    def test_a_heading_sorts(self, wide):
        """Numbers falling first, then rising; words rising."""
        seen, _ = wide

        assert seen["before"] == "always_alarms"
        assert seen["byMcc"] == "layout_probe"
        assert seen["byMccRising"] == "always_alarms"
        assert seen["byName"] == "always_alarms"

    def test_the_filter_holds_for_the_matrix_and_the_list(self, wide):
        """All words must be found, in any case of letters."""
        seen, _ = wide

        assert seen["cells"] == 6 * 5
        assert seen["filtered"] == [1, 1]
        assert seen["count"] == "1 of 6 bugs"
        assert seen["reset"] == [6, 6]
        assert seen["family"] == ["accumulate/not_divided"]
        assert seen["channel"] == ["relu/closed_mask", "matmul/transposed_factor"]

    def test_the_rarest_catches_come_first(self, wide):
        """Caught by nobody, by one, by two, by three, by four."""
        seen, _ = wide

        assert seen["order"] == [
            "accumulate/not_divided",
            "matmul/returns_none",
            "softmax/keeps_graph",
            "relu/writes_into_cotangent",
            "relu/closed_mask",
            "matmul/transposed_factor",
        ]

    def test_the_matrix_is_walked_by_keys_and_leads_to_the_verdict(self, wide):
        """One tab stop; down, right, Enter; the row of that detector is marked and can be unfolded."""
        seen, _ = wide

        assert seen["stops"] == 1
        assert seen["moved"] == "relu/closed_mask, layout_probe: missed"
        assert seen["hash"] == "#specimen/relu/closed_mask/by/layout_probe"
        assert seen["open"] == ["relu/closed_mask"]
        assert seen["here"] == ["+layout_probe○○○1e-101.3e-10 is below 1e-6 (zeros)"]
        assert seen["more"] == [f"{c}: clear 3 of 3" for c in ("plain", "strided", "zeros")]
        assert seen["less"] == 0

    def test_a_detector_lists_its_bugs(self, wide):
        """Caught, missed, and what it took for a bug."""
        seen, _ = wide

        assert seen["lists"] == ["caught (2)", "missed (2)", "false alarms (1)"]

    def test_reasons_stay_text(self, wide):
        """No element was made from what a detector said."""
        seen, _ = wide

        assert seen["markup"] == 0

    @pytest.mark.parametrize("width", [1400, 400])
    def test_the_page_never_scrolls_sideways(self, page, tmp_path, width):
        """Closed, and with every bug open; wide things scroll in their own boxes."""
        seen, console = browse(page, tmp_path, width)

        assert console == []
        assert seen["overflow"] <= 0
        assert seen["overflowOpen"] <= 0

    @pytest.mark.slow
    def test_a_large_run_is_alive_on_a_phone(self, large, tmp_path):
        """120 bugs by 40 detectors: the matrix is drawn, and nothing overflows."""
        seen, console = browse(large, tmp_path, 400)

        assert console == []
        assert seen["cells"] == 120 * 40
        assert seen["overflow"] <= 0
