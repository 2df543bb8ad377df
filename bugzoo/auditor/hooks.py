"""Hooks of the user's on gradients: seen, and without effect while a session is muted."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import TYPE_CHECKING, Any

from torch import Tensor

from bugzoo.auditor import graph
from bugzoo.auditor.places import same

if TYPE_CHECKING:
    from bugzoo.auditor.session import Session


def hooking(session: Session, original: Callable[..., Any]) -> Callable[..., Any]:
    """Tensor.register_hook, whose hooks are looked at: what they write, and whether they answer."""

    @wraps(original)
    def register_hook(tensor: Tensor, hook: Callable[..., Any]) -> Any:
        if session.quiet and not session.engine_depth:
            return original(tensor, hook)
        return original(tensor, _watched(session, hook, graph.line()))

    return register_hook


def _watched(session: Session, hook: Callable[..., Any], line: str) -> Callable[..., Any]:
    @wraps(hook)
    def watched(g: Tensor) -> Any:
        if session.muted:
            hook(g.clone())
            return None
        before = g.detach().clone()
        answer = hook(g)
        if answer is not None:
            session.modified = True
        elif not same(g, before):
            at = int((g != before).reshape(-1).nonzero()[0]) if g.numel() else 0
            old, new = before.reshape(-1)[at].item(), g.detach().reshape(-1)[at].item()
            for listener in session.listeners:
                listener.write_hook(line, f"[{at}] was {old:.6g}, is {new:.6g}")
        return answer

    return watched


def module_hooking(session: Session, original: Callable[..., Any]) -> Callable[..., Any]:
    """The same for full backward hooks of modules."""

    @wraps(original)
    def register(module: Any, hook: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        @wraps(hook)
        def watched(*given: Any) -> Any:
            answer = hook(*given)
            if answer is not None:
                session.modified = True
            return None if session.muted else answer

        return original(module, watched, *args, **kwargs)

    return register
