"""bugzoo learn start: an exercise by its code, or drawn to order."""

from __future__ import annotations

import random

import click

from bugzoo.cli import _shared
from bugzoo.cli.learn import _common
from bugzoo.errors import UserError


@click.command("start", short_help="Start an exercise: by code, or drawn to order.")
@_common.chosen
@click.option("--op", default="", metavar="NAME", help="Of this operation or loop.")
@click.option("--family", default="", metavar="FAMILY", help="Of this family of mistakes.")
@click.option("--level", default="", metavar="N", help="1 (shows everywhere) to 5 (hides well).")
@click.option("--seed", default="", metavar="S", help="The same seed draws the same exercise.")
@click.option("--loops", is_flag=True, help="A training loop instead of an operation.")
@_common.workspace
def command(
    code: str,
    mode: str,
    op: str,
    family: str,
    level: str,
    seed: str,
    loops: bool,
    folder: str,
    plain: bool,
) -> None:
    """Start CODE, such as LN-96f6c6, or one that is drawn. Without anything: as `learn next`."""
    held = _common.session(folder)
    if not (code or op or family or level or seed or loops or mode):
        _common.show(_common.begin(held))
        return
    from bugzoo.learn import pool
    from bugzoo.learn.exercise import MODES, Exercise, parse

    if mode and mode not in MODES:
        raise UserError(f"--mode {mode}: expected one of {', '.join(MODES)}.")
    number = _shared.whole("--seed", seed, 0) if seed else random.SystemRandom().randrange(10**6)
    wanted = _shared.whole("--level", level, 1) if level else 0
    if wanted > 5:
        raise UserError(f"--level {level}: expected 1 to 5.")
    _common.ready()
    if code:
        exercise = parse(code, mode, int(seed) if seed else 0)
        pool.of(exercise)
        if exercise.mode in ("find", "fix"):
            held.exhibit(exercise)
    elif mode in ("detect", "plant"):
        if not op:
            op = random.Random(number).choice(
                [o for o in pool.ops() if pool.kind_of(o) == "operation"]
            )
        if pool.kind_of(op) == "loop":
            raise UserError(
                f"'{mode}' is about operations; {op} is a training loop. Try find or fix."
            )
        exercise = pool.drawn(mode, number, op)
    else:
        from bugzoo.learn import naive

        kind = "loop" if loops or (op and pool.kind_of(op) == "loop") else "operation"
        drawn = pool.draw(
            number,
            op=op,
            family=family,
            kind=kind,
            fits=lambda e: not wanted or naive.level(e) == wanted,
        )
        exercise = Exercise(mode or "find", drawn.code, number)
    record = held.progress.records.get(exercise.key)
    if record is not None and record.started:
        exercise = Exercise(record.mode, record.code, record.seed)
    held.start(exercise, step=record.step if record else None)
    _common.show(_common.task(held, exercise, held.progress.records[exercise.key]))
