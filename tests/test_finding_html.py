"""A result in a notebook: everything that the text says, well-formed, safe, readable on any theme."""

import re
from html.parser import HTMLParser

import pytest

from bugzoo.finding import Checkup, Cost, Finding, Note, Result

WRONG = Finding(
    "value", "the gradient is not the derivative", "input 0[3, 7]; 1 of 100 elements",
    yours=1.5, true=3.0, cause="a common factor of 0.5", inputs="10x10 float64",
)  # fmt: skip
STEP = Finding("trajectory", "gradients survive a step", "layer.weight", step=2, line="train.py:41")
RISK = Finding("side_effect", "the backward changes cotangent 0", yours=2.0, true=0.0)
NOTES = [Note("convention", "a kink: 0 of [-1, 0]"), Note("skipped", "out of budget")]


class Parsed(HTMLParser):
    """The visible text, the tags, and tags that do not match."""

    def __init__(self, page):
        super().__init__()
        self.text, self.tags, self.open, self.problems = "", [], [], []
        self.feed(page)
        self.close()
        self.problems += self.open

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        if tag != "br":
            self.open.append(tag)

    def handle_endtag(self, tag):
        if not self.open or self.open.pop() != tag:
            self.problems.append(tag)

    def handle_data(self, data):
        self.text += data + " "


@pytest.mark.parametrize(
    "result",
    [
        Checkup(done=["as given"] * 3, notes=NOTES),
        Checkup([WRONG, RISK], NOTES, Cost(12, 4, 0.5), seed=3),
        Result([STEP] * 25),
    ],
    ids=["ok", "wrong", "many"],
)
def test_it_is_well_formed_and_whole(result):
    """Every word and number of the text stands in it, outside the copy of the text too."""
    page = result._repr_html_()
    parsed = Parsed(page)
    seen = " ".join(Parsed(re.sub(r"<pre.*?</pre>", "", page, flags=re.S)).text.split())

    assert parsed.problems == []
    for finding in result.findings:
        told = (finding.what, finding.where, finding.cause, finding.inputs, finding.line)
        assert all(word in seen for word in told)
    assert all(note.what in seen for note in result.notes)
    assert f"seed {result.seed}" in seen
    assert " ".join(str(result).split()) in " ".join(parsed.text.split())


def test_numbers_stand_in_a_table_and_notes_are_folded():
    """Yours, true and the ratio in cells; no ratio to zero."""
    page = Checkup([WRONG, RISK], NOTES)._repr_html_()
    cells = re.findall(r"<td[^>]*>([^<]*)</td>", page)

    assert cells == ["input 0[3, 7]; 1 of 100 elements", "1.5", "3", "0.5", "2", "0", "-"]
    assert re.search(r"<details[^>]*><summary[^>]*>2 notes</summary>", page)


def test_what_the_code_said_cannot_become_markup():
    """An exception's text may hold anything."""
    evil = "<script>alert(1)</script>&"
    finding = Finding(
        "contract", evil, evil, 1.0, 2.0, variation=evil, cause=evil, inputs=evil, line=evil
    )
    parsed = Parsed(Checkup([finding], [Note(evil, evil)])._repr_html_())

    assert "script" not in [tag for tag, _ in parsed.tags]
    assert parsed.text.count(evil) >= 7


def test_it_reads_on_light_and_on_dark():
    """No style sheet, no colour for text but on a background of its own, with a contrast of 4.5."""
    page = Checkup([WRONG, RISK], NOTES)._repr_html_() + Checkup()._repr_html_()
    coloured = [
        a["style"]
        for _, a in Parsed(page).tags
        if re.search(r"(^|;)(color|background)", a.get("style") or "")
    ]

    assert "<style" not in page and "class=" not in page
    assert len(coloured) == 4
    for style in coloured:
        background = re.search(r"background:#(\w{6});color:#fff", style)
        assert background, style
        assert 1.05 / (luminance(background[1]) + 0.05) > 4.5


def luminance(colour):
    """Relative luminance as WCAG 2 defines it."""
    channels = [int(colour[n : n + 2], 16) / 255 for n in (0, 2, 4)]
    linear = [c / 12.92 if c <= 0.03928 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return sum(w * c for w, c in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


def test_many_findings_are_folded():
    """Ten stand open."""
    page = Result([STEP] * 25)._repr_html_()

    assert ">15 more findings</summary>" in page
    assert "more findings" not in Result([STEP] * 10)._repr_html_()
