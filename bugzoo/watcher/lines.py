"""Whose line is it? The user's frame that called backward, step or zero_grad."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from types import FrameType

import torch

TORCH = os.path.dirname(torch.__file__) + os.sep
OURS = os.path.dirname(__file__) + os.sep
STDLIB = os.path.dirname(os.__file__) + os.sep  # holds site-packages too, in most installations
DEPTH = 3  # frames that tell one call of a shared helper from another


@dataclass(frozen=True)
class Line:
    """`text` is 'train.py:41'; `site` the user's frames around it, innermost first."""

    text: str = ""
    site: tuple[tuple[str, int], ...] = ()


NOWHERE = Line()


def caller(frame: FrameType | None = None) -> Line:
    """The innermost frame of the user's own files; of any library but torch where there is none."""
    frame = frame or sys._getframe(1)
    own: list[tuple[str, int]] = []
    library: tuple[str, int] | None = None
    while frame is not None and len(own) < DEPTH:
        file = frame.f_code.co_filename
        if not file.startswith((TORCH, OURS, "<frozen")):
            here = (file, frame.f_lineno)
            if not file.startswith(STDLIB) and "site-packages" not in file:
                own.append(here)
            elif library is None:
                library = here
        frame = frame.f_back
    site = tuple(own) or ((library,) if library else ())
    return Line(f"{os.path.basename(site[0][0])}:{site[0][1]}", site) if site else NOWHERE


def from_torch(frame: FrameType | None) -> bool:
    """Is this frame torch's own, a clearing or clipping helper that the user called?"""
    return frame is not None and frame.f_code.co_filename.startswith(TORCH)


def within(frame: FrameType | None, file: str, limit: int = 8) -> bool:
    """Is one of the innermost frames in the torch file that ends so?"""
    while frame is not None and limit:
        if frame.f_code.co_filename.endswith(file):
            return True
        frame, limit = frame.f_back, limit - 1
    return False
