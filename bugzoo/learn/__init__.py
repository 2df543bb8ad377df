"""The school: find, repair and detect wrong gradients; alone at a terminal, in a notebook, as a class.

    from bugzoo import learn
    ex = learn.start("LN-96f6c6")       # find: look, then answer
    ex.look("onehot")
    ex.answer(13, "missing-reduction")

The names below load on first use: the command line shows its first screen before torch is there.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

_HOME = {"start": "notebook", "frame": "log", "Exercise": "exercise", "check": "notebook"}

__all__ = ["Exercise", "check", "frame", "start"]

if TYPE_CHECKING:
    from bugzoo.learn.exercise import Exercise
    from bugzoo.learn.log import frame
    from bugzoo.learn.notebook import check, start


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'bugzoo.learn' has no attribute {name!r}")
    return getattr(import_module(f"bugzoo.learn.{_HOME[name]}"), name)
