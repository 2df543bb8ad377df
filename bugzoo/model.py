"""The nouns of the zoo and the decorators that mark them. No torch, no pandas: importing this is cheap.
Data flows one way:

    specimen -> subject -> detector -> verdict -> trial
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal, TypeVar, get_args

from bugzoo.errors import DetectorError, SpecimenError

Channel = Literal[
    "value", "second_order", "side_effect", "reentrancy", "memory", "trajectory", "contract"
]
Outcome = Literal["alarm", "clear", "abstain"]
Need = Literal["operation", "training", "source", "reference", "several_inputs"]

CHANNELS: dict[str, str] = {
    "value": "the gradient that the engine delivers is not the derivative",
    "second_order": "the gradient is right, its own derivative is not",
    "side_effect": "inputs, cotangent or saved tensors are changed by the pass",
    "reentrancy": "a second backward, or another call in between, gives something else",
    "memory": "bytes stay alive that nobody can use",
    "trajectory": "the parameters leave the path of the textbook step",
    "contract": "the autograd protocol is broken: raises, None, dtype, shape, NaN for zero",
}

FAMILIES: dict[str, str] = {
    "wrong-math": "the formula itself: missing term, transposed factor, wrong variable",
    "missing-reduction": "contributions lost: a slice or an overwrite where a sum belongs",
    "layout-stride": "right numbers in the wrong memory order",
    "masking-boundary": "wrong or NaN only at edges: zeros, ties, bounds, block tails",
    "scaling": "a factor is wrong: loss normaliser, cotangent used in part, reduction mode",
    "dtype-precision": "right in float64, wrong in a narrower type",
    "saved-tensor-mutation": "an in-place write into something that another node still needs",
    "higher-order": "first derivative right, second wrong",
    "graph-cut": "gradient missing where wanted, or flowing where not wanted",
    "api-contract": "the autograd protocol: slots, None against zero, shapes",
    "rng-recompute": "the recomputed forward differs from the first one",
    "accumulation-zeroing": "which micro-batches' gradients reach the step",
    "hooks-clip-optimizer": "order and set of clip, unscale, decay and step",
    "distributed": "sums and means over ranks",
    "memory-retention": "the gradient is right, the graph is kept",
}

COTANGENTS: dict[str, str] = {
    "random": "dense, both signs",
    "large": "random, times 1e3",
    "ones": "dense ones: the upstream of a summed loss, materialised",
    "expanded": "a scalar expanded with stride 0: what .sum() hands back",
    "transposed": "the transpose of a contiguous tensor",
    "narrow": "a view into a wider buffer: what cat hands back",
    "zero": "all zeros",
}


DECLARATIONS: dict[str, str] = {
    "straight_through": "the gradient is by intent not the derivative of the forward",
    "stop_gradient": "some elements by intent get no gradient, although the forward depends on them",
}


@dataclass(frozen=True)
class Case:
    """A named regime of inputs for an operation.

    `draw(gen)` returns a tuple of fresh tensors; the floating ones are leaves that require grad.
    `extras` are appended after the tensors in every call (flags, an epsilon, a name).
    `cotangent` is the layout in which the consumer of this case hands the gradient back.
    `rtol` is relative to max(|reference|, |gradient|); a value above 1e-9 needs a reason beside it.
    """

    name: str
    draw: Callable[..., tuple[Any, ...]]
    cotangent: str = "random"
    extras: tuple[Any, ...] = ()
    rtol: float = 1e-9

    def __post_init__(self) -> None:
        if self.cotangent not in COTANGENTS:
            raise SpecimenError(
                f"case '{self.name}': unknown cotangent '{self.cotangent}'; "
                f"expected one of {', '.join(COTANGENTS)}"
            )


@dataclass(frozen=True)
class Context:
    """A named setting of a training loop: `options` are keyword arguments of the loop's constructor.

    `steps` is the length of the run, `rtol` relative to the largest parameter of the textbook run.
    """

    name: str
    options: Mapping[str, Any] = field(default_factory=dict)
    steps: int = 24
    rtol: float = 1e-7


TRAINED = Context("trained", {"lr": 0.05, "rule": {"momentum": 0.9}})


@dataclass(frozen=True)
class Truth:
    """What a correct implementation promises, and where it is tried. Set by @correct and @control.

    `reference`: the same function in plain differentiable torch, or None: then the oracle uses
    extrapolated central differences. `twice`: the second derivative is promised too.
    `deterministic`: the same inputs give the same bits. `seat`: where an operation sits in a network
    (see bugzoo.seats), or None; with one it is also tried in training, as the case TRAINED.
    `declares`: what its author would tell a checker: DECLARATIONS.
    """

    cases: tuple[Case, ...] | tuple[Context, ...]
    reference: Callable[..., Any] | None = None
    twice: bool = False
    deterministic: bool = True
    seat: Callable[..., Any] | None = None
    declares: tuple[str, ...] = ()
    sick: bool = False  # controls only: healthy code whose gradients are sick; scored apart
    looks: str = ""  # controls only: why it looks wrong
    right: str = ""  # controls only: why it is not
    seen: tuple[str, ...] = ()


@dataclass(frozen=True)
class Label:
    """The museum label of a bug. Every `shown_by` and `hidden_by` is a claim that the oracle decides."""

    wrong: str
    family: str
    channel: str
    shown_by: tuple[str, ...]
    hidden_by: tuple[str, ...] = ()
    seen: tuple[str, ...] = ()


@dataclass(frozen=True)
class Specimen:
    """One implementation in the catalog: a broken twin, the correct one beside it, or a control."""

    id: str  # "layer_norm/batch_mean": file stem / class name in snake case
    kind: Literal["operation", "loop"]
    twin: Literal["broken", "correct", "control", "sick"]
    cls: type
    truth: Truth
    path: str
    group: str  # folder: operations, engines, loops, controls, or the third party's
    label: Label | None = None  # broken twins only
    base: str = ""  # id of the correct twin; its own id where there is no other
    operator: str = ""  # of a mutant, the mutation operator that made it

    @property
    def cases(self) -> tuple[Case | Context, ...]:
        """All cases: those of its file, and TRAINED where the operation has a seat in a network."""
        return (*self.truth.cases, *((TRAINED,) if self.truth.seat else ()))

    @property
    def file(self) -> str:
        return self.id.partition("/")[0]

    def case(self, name: str) -> Case | Context:
        return next(c for c in self.cases if c.name == name)


@dataclass(frozen=True)
class Verdict:
    """A detector's answer: larger `score` = more suspicious; `because` holds two numbers or more."""

    outcome: Outcome
    score: float = math.nan
    because: str = ""
    where: str = ""


@dataclass(frozen=True)
class Peer:
    """Another project's tool, as a detector drives it, or one that cannot be driven and why.

    `packages`: the tool and what it needs, each `name==version`; they go into a folder of their own
    (see bugzoo.peers), never with a torch. Of what it needs, the running environment's version does,
    whichever it is, unless the pin is `name===version`.
    `imports`: modules that its workers import beforehand.
    `why_not`: why no detector drives it, '' where one does.
    """

    name: str
    version: str
    about: str
    packages: tuple[str, ...] = ()
    imports: tuple[str, ...] = ()
    why_not: str = ""

    def __post_init__(self) -> None:
        for package in self.packages:
            name, pinned, _ = package.partition("==")
            if not pinned or name.lower() in ("torch", "torchvision"):
                raise DetectorError(
                    f"peer '{self.name}': package '{package}'; expected name==version, and never "
                    f"torch itself: a peer uses the one that runs."
                )


NOT_INSTALLED = "not installed: "  # begins the reason of a cell whose detector's peer is absent


@dataclass(frozen=True)
class Detector:
    """One strategy, as @detector marked it. Calling it returns a checked Verdict.

    `needs`: what the subject must offer, else the trial is not applicable.
    `claims`: the channels in which it says it can see a defect.
    `thresholds`: {"name = value": "where the value comes from"}.
    `peer`: the other project's tool that it drives, in packages of its own.
    """

    name: str
    run: Callable[..., Verdict]
    needs: tuple[str, ...]
    claims: tuple[str, ...]
    cost: str
    blind_to: str
    thresholds: Mapping[str, str]
    doc: str
    path: str = ""
    peer: Peer | None = None

    def __call__(self, subject: Any, gen: Any) -> Verdict:
        verdict = self.run(subject, gen)
        if not isinstance(verdict, Verdict):
            raise DetectorError(
                f"detector '{self.name}' returned {type(verdict).__name__}, expected a "
                f"bugzoo.Verdict. Return Verdict('alarm' | 'clear' | 'abstain', score, because)."
            )
        if verdict.outcome not in get_args(Outcome):
            raise DetectorError(
                f"detector '{self.name}' returned the outcome {verdict.outcome!r}, expected "
                f"one of {', '.join(get_args(Outcome))}."
            )
        if verdict.outcome != "abstain" and math.isnan(verdict.score):
            raise DetectorError(
                f"detector '{self.name}' answered '{verdict.outcome}' with a NaN score. Give a "
                f"number that grows with suspicion (inf is allowed), or abstain."
            )
        return verdict


C = TypeVar("C", bound=type)
F = TypeVar("F", bound=Callable[..., Any])
MARK = "__bugzoo__"


def correct(
    *,
    cases: list[Case] | list[Context],
    reference: Callable[..., Any] | None = None,
    twice: bool = False,
    deterministic: bool = True,
    seat: Callable[..., Any] | None = None,
    declares: str | tuple[str, ...] = (),
) -> Callable[[C], C]:
    """Mark a correct implementation, the one that broken twins inherit from."""
    return _marker(_truth(cases, reference, twice, deterministic, seat, declares))


def control(
    *,
    looks: str,
    right: str,
    cases: list[Case] | list[Context],
    reference: Callable[..., Any] | None = None,
    twice: bool = False,
    deterministic: bool = True,
    seat: Callable[..., Any] | None = None,
    declares: str | tuple[str, ...] = (),
    sick: bool = False,
    seen: str | tuple[str, ...] = (),
) -> Callable[[C], C]:
    """Mark a correct implementation that looks wrong: any alarm on it is a false alarm.

    `sick`: the code is right and its gradients vanish or explode. An alarm may well be welcome, so
    such a specimen counts neither as broken nor as healthy.
    """
    for name, text in (("looks", looks), ("right", right)):
        if not text.strip():
            raise SpecimenError(f"@control: '{name}' is empty; expected one sentence")
    truth = _truth(cases, reference, twice, deterministic, seat, declares)
    return _marker(replace(truth, sick=sick, looks=looks, right=right, seen=_strings(seen)))


def bug(
    *,
    wrong: str,
    family: str,
    channel: str,
    shown_by: str | tuple[str, ...],
    hidden_by: str | tuple[str, ...] = (),
    seen: str | tuple[str, ...] = (),
) -> Callable[[C], C]:
    """Mark a broken twin: a subclass of a correct implementation that overrides what is wrong.

    Raises SpecimenError on an empty claim and on an unknown family or channel.
    """
    label = Label(wrong, family, channel, _strings(shown_by), _strings(hidden_by), _strings(seen))
    if not wrong.strip():
        raise SpecimenError("@bug: 'wrong' is empty; expected one sentence that says what is wrong")
    if not label.shown_by:
        raise SpecimenError("@bug: 'shown_by' is empty; expected the name of at least one case")
    for word, known in ((family, FAMILIES), (channel, CHANNELS)):
        if word not in known:
            raise SpecimenError(f"@bug: unknown word '{word}'; expected one of {', '.join(known)}")
    return _marker(label)


def detector(
    *,
    needs: str | tuple[str, ...] = "operation",
    claims: str | tuple[str, ...] = "value",
    cost: str,
    blind_to: str,
    thresholds: Mapping[str, str] | None = None,
    peer: Peer | None = None,
) -> Callable[[F], F]:
    """Mark a function `(subject, gen) -> Verdict` as a detector; its name is the function's name.

    With a `peer` it runs where that peer's packages are, and imports them inside the function.
    """
    for word, known in ((_strings(needs), get_args(Need)), (_strings(claims), tuple(CHANNELS))):
        unknown = set(word) - set(known)
        if unknown:
            raise DetectorError(
                f"@detector: unknown word '{unknown.pop()}'; expected one of {', '.join(known)}"
            )

    def mark(function: F) -> F:
        if not function.__doc__:
            doc = (function.__globals__.get("__doc__") or "").strip()
        else:
            doc = function.__doc__.strip()
        made = Detector(
            name=function.__name__,
            run=function,
            needs=_strings(needs),
            claims=_strings(claims),
            cost=cost,
            blind_to=blind_to,
            thresholds=dict(thresholds or {}),
            doc=doc,
            peer=peer,
        )
        setattr(function, MARK, made)
        return function

    return mark


def _truth(
    cases: list[Case] | list[Context],
    reference: Callable[..., Any] | None,
    twice: bool,
    deterministic: bool,
    seat: Callable[..., Any] | None,
    declares: str | tuple[str, ...],
) -> Truth:
    for word in _strings(declares):
        if word not in DECLARATIONS:
            known = ", ".join(DECLARATIONS)
            raise SpecimenError(f"declares: unknown word '{word}'; expected one of {known}")
    listed: Any = tuple(cases)
    return Truth(listed, reference, twice, deterministic, seat, _strings(declares))


def _marker(what: Any) -> Callable[[C], C]:
    def mark(cls: C) -> C:
        setattr(cls, MARK, what)
        return cls

    return mark


def _strings(value: str | tuple[str, ...] | list[str]) -> tuple[str, ...]:
    return (value,) if isinstance(value, str) else tuple(value)
