"""What a run was: versions, seeds, cells, wall time, in words for the head of a report."""

from typing import Any

from reports import _text

FACTS = {  # meta key -> what the page calls it
    "started": "started",
    "cells": "cells",
    "wall_seconds": "wall time, s",
    "oracle_seconds": "oracle, s",
    "jobs": "workers",
    "timeout": "time-out of a cell, s",
    "seeds": "seeds",
    "selection": "selection",
    "absent": "peers not installed, left out",
}


def facts(meta: dict[str, Any]) -> list[tuple[str, str]]:
    """Versions first, then what FACTS names. A run without a wall time did not come to its end."""
    noted = {key: meta[key] for key in FACTS if meta.get(key)}
    if meta and not meta.get("wall_seconds"):
        noted["wall_seconds"] = "cut off before the end"
    named = [(FACTS[key], noted[key]) for key in FACTS if key in noted]
    versions = [(str(name), version) for name, version in meta.get("versions", {}).items()]
    return [(name, _words(value)) for name, value in versions + named]


def _words(value: Any) -> str:
    if isinstance(value, dict):
        return "; ".join(f"{k} {_words(v)}" for k, v in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(map(str, value))
    return _text.cell(value)
