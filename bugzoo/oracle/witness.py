"""The probe that shows a defect, or shows none."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Witness:
    """What one channel's probe saw of one specimen in one case.

    `awake`: the defect shows. `error`: relative, 0.0 when nothing differs, inf for NaN or an exception.
    `probe`: what was done. `words`: what was seen, with both numbers. `loud`: the pass raised.
    `reference`: what the specimen was held against.
    """

    channel: str
    awake: bool
    probe: str
    words: str
    error: float = 0.0
    loud: bool = False
    reference: str = ""
