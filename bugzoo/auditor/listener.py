"""What a session tells: backward passes as `Call`, and all else through the methods of a `Listener`."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from torch import Tensor

if TYPE_CHECKING:
    from bugzoo.auditor.session import Session


class Stop(BaseException):
    """Ends a run from inside; no `except Exception` of the user's catches it."""


@dataclass(eq=False)
class Call:
    """One backward pass, or one `autograd.grad`, that the user started.

    `own` False: started by a node of another backward, as checkpoints do.
    """

    number: int
    outputs: tuple[Any, ...]
    cotangents: tuple[Tensor | None, ...]
    create_graph: bool
    inputs: tuple[Tensor, ...]
    accumulate: bool
    own: bool
    line: str
    after: int  # optimizer steps done before
    nodes: list[Any] = field(default_factory=list)
    leaves: list[tuple[Tensor, Any]] = field(default_factory=list)
    got: dict[int, Tensor] = field(default_factory=dict)  # id of a leaf -> what it was given
    inside_step: bool = False
    results: tuple[Tensor | None, ...] = ()


class Listener:
    """What happens in a run; override what you want to know."""

    def attach(self, session: Session) -> None:
        self.session = session

    def before_backward(self, call: Call) -> None: ...
    def after_backward(self, call: Call) -> None: ...
    def before_step(self, optimizer: Any) -> None: ...
    def after_step(self, optimizer: Any) -> None: ...
    def before_zero(self) -> None: ...
    def before_op(self, name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None: ...
    def before_write(self, targets: list[Tensor]) -> None: ...
    def write_hook(self, line: str, words: str) -> None: ...
    def close(self) -> None: ...
