"""Tools that no detector drives, and why. Their packages can be installed all the same."""

from bugzoo.model import Peer

TRAINCHECK = Peer(
    "traincheck",
    "0.2.0",
    "Invariants inferred from a healthy run, checked on another.",
    packages=(
        "traincheck==0.2.0",
        "astor==0.8.1",
        "numba==0.64.0",
        "llvmlite==0.46.0",
        "polars==1.33.1",
        "orjson==3.11.3",
        "watchdog==6.0.0",
        "tqdm==4.67.3",
        "pyyaml==6.0.3",
    ),
    imports=("traincheck",),
    why_not="It needs a correct run of the same script to learn from, which no subject has, and minutes "
    "for each: 22-48 s to collect, 77 s to infer, 13-23 s to check a script that runs in 6 s.",
)
COCKPIT = Peer(
    "cockpit",
    "1.0.2",
    "Gauges of gradient statistics, drawn for a person to read.",
    why_not="It raises no alarm by design, so there is nothing to score.",
)
BACKPACK = Peer(
    "backpack",
    "1.7.1",
    "Per-sample gradients, variances and curvature beside the gradient.",
    why_not="It computes quantities and judges none; there is nothing to score.",
)
WANDB = Peer(
    "wandb",
    "0.31.0",
    "wandb.watch logs histograms of gradients and parameters.",
    why_not="It records and judges nothing: an alert is what its user writes, so there is nothing to score.",
)
