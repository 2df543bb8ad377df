"""The ladder of hints: where to look, a question about the family, the line, the answer's lines shuffled.

Only the question is written by hand, one a family. All else is computed from the exhibit.
"""

import difflib
import random
import warnings
from collections.abc import Sequence

from bugzoo.learn import find, instruments, program, text
from bugzoo.learn.fix import before, bench, header
from bugzoo.learn.pool import Exhibit, exhibits

PRICES = find.RUNGS
OTHERS = 8  # wrong programs from which an instrument shall tell the exhibit
QUESTIONS = {
    "wrong-math": "Derive the formula on paper, term by term. Which term of it is not in the code, or not so?",
    "missing-reduction": "Where one number feeds several places its gradient is a sum. Over which places?",
    "layout-stride": "What if the memory of a tensor is not in the order of its indices?",
    "masking-boundary": "What happens at zeros, at ties, at the bounds, in the last block, behind the mask?",
    "scaling": "Follow each factor, n, a scale, the cotangent itself: is each there, and once?",
    "dtype-precision": "In which type is each number kept on the way, and what does that type round away?",
    "saved-tensor-mutation": "Who else holds the memory that is written to? When is it read again?",
    "higher-order": "If the gradient is differentiated once more: is all that it depends on in the graph?",
    "graph-cut": "Walk from the loss to each parameter. Where does the graph end, or go on where it must not?",
    "api-contract": "Count what backward returns: is each gradient in the slot of its own input?",
    "rng-recompute": "What is drawn twice, and should have been drawn once?",
    "accumulation-zeroing": "Which backward passes does each step use, and when are their gradients cleared?",
    "hooks-clip-optimizer": "In which order come scale, unscale, clip, decay and step, and on which tensors?",
    "distributed": "Which ranks take part in each sum or mean, and at which moment?",
    "memory-retention": "What holds on to a tensor that still has its graph?",
}
DETECT = (
    "Which cotangent does your check use? With g all ones the true gradient of some operations is 0.",
    "Compare a directional derivative, by central differences, with the gradient under a random cotangent.",
    "Some broken programs write into what they were lent, or change when used twice. Look before and after.",
    "Call the operation, then autograd.grad with torch.randn_like(y); compare with "
    "((op(x + h u) - op(x - h u)) / 2h * g).sum() for a random u; then repeat it and compare bit by bit.",
)
PLANT = (
    "A bug that shows at a generic point is seen by every check with a random cotangent.",
    "Which inputs do the checks never try? Ties, zeros, long rows, other layouts, the second call.",
    "A condition on a shape or on a stride, or something kept from one call to the next, hides well.",
    "Keep something of the first call on the class, or write into g after it was used.",
)


def rung(
    exhibit: Exhibit, seed: int, mode: str, number: int, looks: Sequence[str] = ()
) -> list[str]:
    """The text of rung 1 to 4. `looks`: instruments that were bought already."""
    if number == 1:
        return _where(exhibit, seed, mode, looks)
    return {2: _family, 3: _line, 4: _shuffled}[number](exhibit, seed, mode)


def _where(exhibit: Exhibit, seed: int, mode: str, looks: Sequence[str]) -> list[str]:
    if mode == "fix":
        held = bench(exhibit, seed)
        right = before(exhibit, seed)
        wrong = [c.name for c in held if c.name not in right]
        if right and wrong:
            return [
                f"As handed out it is right in {_listed(list(right)[:3])} and wrong in "
                f"{_listed(wrong[:3])}. What is different there?"
            ]
        said = "It is wrong in every case" if wrong else "Every value is right"
        return [f"{said}: the mistake is in {_listed(list(exhibit.methods))}."]
    name, told, of = best(exhibit, seed)
    verb = "Look again at" if name in looks else "Measure"
    others = f"{told} look" if told != 1 else "1 looks"
    return [f"{verb} `{name}`: of {of} other mistakes in this program {others} different there."]


def best(exhibit: Exhibit, seed: int) -> tuple[str, int, int]:
    """The instrument that best tells the exhibit from other mistakes, the cheapest of equals.

    One that reads on the exhibit as on the right program comes last: it tells others, not this one.
    """
    others = [
        e for e in exhibits(exhibit.op) if e.code != exhibit.code and e.correct == exhibit.correct
    ]
    others.sort(key=lambda e: e.code)
    random.Random(exhibit.code).shuffle(others)
    others = others[: OTHERS if exhibit.right.kind == "operation" else OTHERS // 2]
    found = []
    held = bench(exhibit, seed)
    fine = program.compiled(exhibit.correct, f"<{exhibit.code}>", exhibit.name)
    for place, (name, instrument) in enumerate(instruments.listed(held).items()):
        if name == "loss":
            continue
        mine = find.reading(exhibit, exhibit, seed, name)
        told = sum(mine.looks(find.reading(exhibit, o, seed, name)) for o in others)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            silent = not mine.differs(instruments.read(instrument, held, fine))
        found.append((silent, -told, instrument.price, place, name))
    _, told, _, _, name = min(found)
    return name, -told, len(others)


def _family(exhibit: Exhibit, seed: int, mode: str) -> list[str]:
    return [QUESTIONS[exhibit.family]]


def _line(exhibit: Exhibit, seed: int, mode: str) -> list[str]:
    lines = exhibit.shown.splitlines()
    offset = header(exhibit, seed).count("\n") if mode == "fix" else 0
    shown = [f"{n + offset:4d}  {lines[n - 1].strip()}" for n in exhibit.lines[:4]]
    between = text.gap(exhibit.correct, exhibit.shown)
    return ["Something is missing here:" if between else "It is here:", *shown]


def _shuffled(exhibit: Exhibit, seed: int, mode: str) -> list[str]:
    """The right line, the wrong one and other wrong ones, in an order that says nothing."""
    rng = random.Random(f"{exhibit.code}:{seed}")
    if place := text.moved(exhibit.correct, exhibit.shown):
        line, behind = place
        said = exhibit.shown.splitlines()
        near = [s.strip() for s in said[max(0, line - 5) : line + 5] if s.strip()]
        near = [
            s for s in near if s not in (behind, said[line - 1].strip(), said[line - 2].strip())
        ]
        places = [behind, *rng.sample(sorted(set(near)), min(3, len(set(near))))]
        rng.shuffle(places)
        return ["The line is right, its place is not. It belongs behind one of these:",
                *(f"  {s}" for s in places)]  # fmt: skip
    right: list[str] = []
    after, before_ = exhibit.correct.splitlines(), exhibit.shown.splitlines()
    wrong: list[str] = []
    for tag, a, b, c, d in text.blocks(exhibit.correct, exhibit.shown):
        if tag != "equal":
            right += [s.strip() for s in after[a:b]]
            wrong += [s.strip() for s in before_[c:d]]
    others: list[str] = []
    for line in exhibit.lines[:1]:
        for e in find.broken_at(exhibit, line):
            shown = e.shown.splitlines()
            others += [shown[n - 1].strip() for n in e.lines[:1]]
    own = [
        s.strip() for s in before_ if s.strip().endswith(")") and not s.strip().startswith("def ")
    ]
    others = [o for o in dict.fromkeys(others) if o not in right + wrong]
    own = [o for o in dict.fromkeys(own) if o not in [*right, *wrong, *others]]
    for pile in (others, own):
        rng.shuffle(pile)
    # what looks nothing like the right line would be struck out at sight
    model = " ".join(right or wrong)
    others = [o for o in others if _alike(o, model) > 0.5] + sorted(
        own, key=lambda o: -_alike(o, model)
    )
    listed = list(dict.fromkeys([*right, *wrong, *others[:2]]))
    rng.shuffle(listed)
    if not right:
        return [
            "The right program has fewer lines. One of these is too many:",
            *(f"  {s}" for s in listed),
        ]
    count = (
        f"{len(right)} of these {len(listed)} lines are right"
        if len(right) > 1
        else (f"One of these {len(listed)} lines is right")
    )
    return [f"{count}:", *(f"  {s}" for s in listed)]


def _alike(one: str, other: str) -> float:
    return difflib.SequenceMatcher(None, one, other, autojunk=False).ratio()


def _listed(words: list[str]) -> str:
    words = [w or "the class body" for w in words]
    return ", ".join(words[:-1]) + (" and " if len(words) > 1 else "") + words[-1]
