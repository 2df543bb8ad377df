# ruff: noqa: B018  (the last expression of a cell is what it shows)
"""The school in marimo: a cell runs again when it changes, which is watch mode for nothing.

`look`, `check` and `score` change nothing, so that a cell may run as often as it likes.
"""

import marimo

app = marimo.App()


@app.cell
def _():
    from bugzoo import learn

    return (learn,)


@app.cell
def _(learn):
    ex = learn.start("LN-d1e387")
    ex
    return (ex,)


@app.cell
def _(ex):
    sums = ex.look("sums")
    sums
    return (sums,)


@app.cell
def _(sums):
    table = sums.frame
    table
    return (table,)


@app.cell
def _(ex):
    guess = ex.answer(17, "scaling")
    guess
    return (guess,)


@app.cell
def _():
    import torch

    def check(op, inputs):
        """A random cotangent and one direction: <J u, g> = <u, J' g>."""
        y = op(*inputs)
        g = torch.randn_like(y)
        (dx,) = torch.autograd.grad(y, inputs[0], g)
        u, h = torch.randn_like(dx), 1e-6
        up, down = (op(inputs[0].detach() + s * u) for s in (h, -h))
        left = ((up - down) / (2 * h) * g).sum()
        return bool((left - (dx * u).sum()).abs() < 1e-6 * (1 + left.abs()))

    return (check,)


@app.cell
def _(check, learn):
    score = learn.start("LN-all-41").score(check)
    score
    return (score,)


if __name__ == "__main__":
    app.run()
