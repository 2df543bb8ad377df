"use strict";
// The page works on static HTML; this adds sorting, the matrix, filters, and the verdicts of an
// opened specimen. Data become text nodes, never HTML.

const data = JSON.parse(document.getElementById("data").textContent);
const byId = (id) => document.getElementById(id);
const all = (css, root = document) => [...root.querySelectorAll(css)];
const numberOf = new Map(data.detectors.map((name, n) => [name, n]));
const stateOf = new Map(data.bugs.map(([id, , , states]) => [id, states]));
const legend = new Map(all(".legend .s").map((s) => [s.dataset.letter,
  { sign: s.dataset.sign, words: s.parentNode.textContent.slice(s.textContent.length) }]));

// make("td", { class: "s" }, "text", child): an element, its attributes, its children
function make(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value !== null && value !== false) made.setAttribute(name, value === true ? "" : value);
  }
  made.append(...children);
  return made;
}

const link = (kind, name, attributes = {}) =>
  make("a", { href: `#${kind}/${name}`, ...attributes }, name);

// Lets a name wrap behind / and _
function breakable(made) {
  made.replaceChildren(...made.textContent.split(/(?<=[/_])/).flatMap((part) => [part, make("wbr")]));
  return made;
}

// --- tables: a heading sorts, first falling for numbers and rising for words; empty cells last

for (const table of all("table.sortable")) {
  table.tHead.addEventListener("click", (event) => {
    const head = event.target.closest("button") && event.target.closest("th");
    if (!head) return;
    const number = head.classList.contains("num");
    const first = number ? "descending" : "ascending";
    const other = number ? "ascending" : "descending";
    const direction = head.getAttribute("aria-sort") === first ? other : first;
    const sign = direction === "ascending" ? 1 : -1;
    const value = (row) => row.cells[head.cellIndex].dataset.v ?? row.cells[head.cellIndex].textContent;
    const rows = [...table.tBodies[0].rows].map((row) => [value(row), row]);
    rows.sort(([a], [b]) => {
      if (a === "" || b === "") return (a === "") - (b === "");
      return sign * (number ? a - b : a.localeCompare(b));
    });
    all("th", table.tHead).forEach((th) => th.removeAttribute("aria-sort"));
    head.setAttribute("aria-sort", direction);
    table.tBodies[0].append(...rows.map(([, row]) => row));
  });
}

// --- filters: the same for the matrix and for the list of bugs

const filters = byId("filters");
const haystack = new Map(all("details.bug").map((d) =>
  [d.dataset.specimen, d.querySelector("summary").textContent.toLowerCase()]));

function chosen() {
  const { family, channel, text, order } = Object.fromEntries(new FormData(filters));
  const words = text.toLowerCase().split(/\s+/).filter(Boolean);
  const catches = ([, , , states]) => [...states].filter((s) => s === "C" || s === "c").length;
  const kept = data.bugs.filter(([id, f, c]) => (!family || f === family) && (!channel || c === channel)
    && words.every((w) => (haystack.get(id) ?? id).includes(w)));
  if (order === "rare") kept.sort((a, b) => catches(a) - catches(b) || (a[0] < b[0] ? -1 : 1));
  if (order === "name") kept.sort((a, b) => (a[0] < b[0] ? -1 : 1));
  return { kept, grouped: order === "family" };
}

function show() {
  const { kept, grouped } = chosen();
  drawMatrix(kept, grouped);
  const ids = new Set(kept.map(([id]) => id));
  for (const bug of all("details.bug")) bug.hidden = !ids.has(bug.dataset.specimen);
  for (const group of all(".family-group")) group.hidden = !group.querySelector(".bug:not([hidden])");
  const count = kept.length === data.bugs.length ? "" : `${kept.length} of ${data.bugs.length} bugs`;
  filters.querySelector("output").textContent = count;
}

filters.addEventListener("input", show);
filters.addEventListener("reset", () => setTimeout(show));
filters.addEventListener("submit", (event) => event.preventDefault());

// --- the matrix: one tab stop, arrow keys inside it

function drawMatrix(bugs, grouped) {
  const head = make("tr", {}, make("th", { scope: "col" }),
    ...data.detectors.map((name) => make("th", { scope: "col" }, link("detector", name, { tabindex: -1, title: name }))));
  const body = make("tbody");
  let last = null;
  for (const [id, family, , states] of bugs) {
    if (grouped && family !== last) {
      body.append(make("tr", { class: "family" }, make("th", { colspan: data.detectors.length + 1, scope: "colgroup" }, family)));
      last = family;
    }
    const cells = [...states].map((letter) =>
      make("td", { class: `s s-${letter}`, tabindex: -1, "aria-label": legend.get(letter).words }, legend.get(letter).sign));
    body.append(make("tr", { "data-id": id }, make("th", { scope: "row" }, breakable(link("specimen", id, { tabindex: -1, title: id }))), ...cells));
  }
  const table = make("table", { role: "grid", "aria-label": "bugs by detectors" }, make("thead", {}, head), body);
  byId("grid").replaceChildren(bugs.length ? table : make("p", {}, "No bug fits."));
  table.querySelector("td")?.setAttribute("tabindex", 0);
}

const place = (cell) => [cell.parentNode.dataset.id, data.detectors[cell.cellIndex - 1]];

function tell(cell) {
  for (const lit of all(".lit", byId("grid"))) lit.classList.remove("lit");
  if (!cell?.parentNode.dataset.id || cell.tagName !== "TD") return;
  const [id, detector] = place(cell);
  const words = legend.get(stateOf.get(id)[cell.cellIndex - 1]).words;
  byId("status").textContent = `${id}, ${detector}: ${words}`;
  byId("grid").querySelector("thead tr").cells[cell.cellIndex].classList.add("lit");
  cell.parentNode.cells[0].classList.add("lit");
}

function moved(cell, key) {
  const rows = all("tr[data-id]", byId("grid"));
  const down = { ArrowDown: 1, ArrowUp: -1 }[key] ?? 0;
  const right = { ArrowRight: 1, ArrowLeft: -1 }[key] ?? 0;
  return rows[rows.indexOf(cell.parentNode) + down]?.cells[cell.cellIndex + right];
}

const grid = byId("grid");
grid.addEventListener("mouseover", (event) => tell(event.target.closest("td, th")));
grid.addEventListener("focusin", (event) => tell(event.target.closest("td, th")));
grid.addEventListener("click", (event) => {
  const cell = event.target.closest("td");
  if (cell) location.hash = `specimen/${place(cell).join("/by/")}`;
});
grid.addEventListener("keydown", (event) => {
  const cell = event.target.closest("td");
  if (!cell) return;
  if (event.key === "Enter" || event.key === " ") {
    location.hash = `specimen/${place(cell).join("/by/")}`;
  } else if (event.key.startsWith("Arrow")) {
    const next = moved(cell, event.key);
    if (next?.tagName === "TD") {
      cell.setAttribute("tabindex", -1);
      next.setAttribute("tabindex", 0);
      next.focus();
    }
  } else {
    return;
  }
  event.preventDefault();
});

// --- what the detectors said of one specimen, made when it is opened

const OUTCOMES = { "+": "alarm", "-": "clear", a: "abstain", r: "raised", e: "error", t: "timeout", c: "crash" };
const SIGN = { "+": ["●", "C"], "-": ["○", "m"], a: ["?", "a"], r: ["!", "f"], e: ["!", "f"], t: ["!", "f"], c: ["!", "f"] };

// Seeds of a cell as one sign, half-filled where only some alarm. A clear is a miss only if `awake`.
function sign(outcomes, awake) {
  const alarms = [...outcomes].filter((o) => o === "+").length;
  if (alarms === outcomes.length) return ["●", "C"];
  if (alarms) return ["◐", "c"];
  const [glyph, colour] = SIGN[outcomes[0]];
  return [glyph, colour === "m" && !awake ? "n" : colour];
}

function inWords(outcomes) {
  const counts = new Map();
  for (const o of outcomes) counts.set(OUTCOMES[o], (counts.get(OUTCOMES[o]) ?? 0) + 1);
  return [...counts].map(([word, n]) => (outcomes.length > 1 ? `${word} ${n} of ${outcomes.length}` : word)).join(", ");
}

// The case that tells most: an alarm, in an awake case, with the highest score.
function telling(entries, awake) {
  const rank = ([, name, outcomes, score]) =>
    [outcomes.includes("+"), awake.get(name), Number(score === "inf" ? Infinity : score) || 0];
  return entries.reduce((best, entry) => {
    const [a, b] = [rank(entry), rank(best)];
    const n = a.findIndex((value, i) => value !== b[i]);
    return n >= 0 && a[n] > b[n] ? entry : best;
  });
}

function verdicts(id) {
  const cases = data.cases[id] ?? [];
  const awake = new Map(cases.map(([name, on]) => [name, on]));
  const healthy = !stateOf.has(id);
  const loop = cases.every(([, , training]) => training);
  const groups = new Map();
  for (const [n, c, ...said] of data.cells[id] ?? []) {
    groups.set(n, [...(groups.get(n) ?? []), [n, cases[c][0], ...said]]);
  }
  const rows = [...groups.values()].sort((a, b) => a[0][0] - b[0][0]);
  const body = make("tbody");
  for (const entries of rows) body.append(detectorRow(entries, cases, awake, healthy));
  const heads = cases.map(([name, on, training]) =>
    make("th", { scope: "col", class: on || healthy ? null : "asleep" }, make("span", {}, training && !loop ? `${name}, in training` : name)));
  const table = make("table", { class: "said" }, make("thead", {}, make("tr", {}, make("th"), make("th", { scope: "col" }, "detector"),
    ...heads, make("th", { scope: "col", class: "num" }, "score"), make("th", { scope: "col" }, "because"), make("th", { scope: "col" }, "where"))), body);
  const ran = new Set(rows.map(([[n]]) => n));
  const absent = data.detectors.filter((_, n) => !ran.has(n));
  const made = [rows.length ? make("div", { class: "box", tabindex: 0 }, table) : make("p", {}, "No detector could be run on it.")];
  if (absent.length) made.push(make("p", { class: "note" }, `Not applicable: ${absent.join(", ")}.`));
  if (!healthy && cases.some(([, on]) => !on)) made.push(make("p", { class: "note" }, "Cases in which the bug is dormant are faint."));
  return made;
}

// One row with a sign a case and the telling reason; behind the button a row a case.
function detectorRow(entries, cases, awake, healthy) {
  const [n] = entries[0];
  const name = data.detectors[n];
  const [, shown, , score, reason, where] = telling(entries, awake);
  const button = make("button", { type: "button", "aria-expanded": "false", "aria-label": `every case of ${name}` }, "+");
  const found = new Map(entries.map((entry) => [entry[1], entry]));
  const signs = cases.map(([c, on]) => {
    const entry = found.get(c);
    if (!entry) return make("td");
    const [glyph, colour] = sign(entry[2], on);
    return make("td", { class: on || healthy ? null : "asleep" },
      make("span", { class: `s s-${colour}`, title: `${c}: ${inWords(entry[2])}` }, glyph));
  });
  const title = make("th", { scope: "row", class: "name" }, link("detector", name));
  const because = make("td", { class: "wide" }, data.texts[reason]);
  if (data.texts[reason] && cases.length > 1) because.append(make("span", { class: "soft" }, ` (${shown})`));
  const row = make("tr", { "data-detector": n }, make("td", {}, button), title, ...signs,
    make("td", { class: "num" }, score), because, make("td", {}, data.texts[where]));
  const line = ([, c, outcomes, s, why, at]) => make("tr", { class: "more" },
    make("td"), make("td", { class: "name" }, c), make("td", { colspan: Math.max(1, cases.length) }, inWords(outcomes)),
    make("td", { class: "num" }, s), make("td", { class: "wide" }, data.texts[why]), make("td", {}, data.texts[at]));
  let lines = [];
  button.addEventListener("click", () => {
    const open = !lines.length;
    button.setAttribute("aria-expanded", open);
    button.textContent = open ? "−" : "+";
    lines.forEach((l) => l.remove());
    lines = open ? entries.map(line) : [];
    row.after(...lines);
  });
  return row;
}

function lists(name) {
  const n = numberOf.get(name);
  const bugs = (letters) => data.bugs.filter(([, , , states]) => letters.includes(states[n])).map(([id]) => id);
  const majority = ([d, , outcomes]) => d === n && outcomes.split("+").length - 1 > outcomes.length / 2;
  const falsely = Object.keys(data.cells).filter((id) => !stateOf.has(id) && data.cells[id].some(majority));
  const parts = [["caught", bugs("Cc")], ["missed", bugs("m")], ["abstained", bugs("a")], ["failed", bugs("f")],
    ["false alarms", falsely]];
  return parts.filter(([, ids]) => ids.length).flatMap(([word, ids]) => {
    const links = ids.map((id) => make("a", { href: `#specimen/${id}/by/${name}` }, id));
    return [make("h3", {}, `${word} (${ids.length})`), make("p", {}, ...links.flatMap((a, i) => (i ? [", ", a] : [a])))];
  });
}

function fill(details) {
  const room = details.querySelector(".verdicts, .lists");
  if (!room || room.hasChildNodes()) return;
  const { specimen, detector } = details.dataset;
  room.append(...(specimen ? verdicts(specimen) : lists(detector)));
}

document.addEventListener("toggle", (event) => {
  if (event.target.open) fill(event.target);
}, true);
byId("open-all").addEventListener("click", () => all("details.bug:not([hidden])").forEach((d) => { d.open = true; }));
byId("close-all").addEventListener("click", () => all("details.bug").forEach((d) => { d.open = false; }));
window.addEventListener("beforeprint", () => all("details.table").forEach((d) => { d.open = true; }));

// --- addresses: #specimen/ID, #specimen/ID/by/DETECTOR, #detector/NAME open what they name

function follow() {
  const id = decodeURIComponent(location.hash.slice(1));
  const [, target, detector] = byId(id) ? [null, id, null] : /^(.*)\/by\/(.*)$/.exec(id) ?? [];
  const details = target && byId(target);
  if (details?.tagName !== "DETAILS") return;
  if (details.hidden) { filters.reset(); show(); }
  details.open = true;
  fill(details);
  for (const row of all(".here")) row.classList.remove("here");
  const row = detector && details.querySelector(`tr[data-detector="${numberOf.get(detector)}"]`);
  row?.classList.add("here");
  (row ?? details).scrollIntoView({ block: row ? "center" : "start" });
  (row?.querySelector("button") ?? details.querySelector("summary")).focus({ preventScroll: true });
}

window.addEventListener("hashchange", follow);
show();
follow();
