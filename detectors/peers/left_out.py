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
    why_not="It needs a correct run of the same script to learn from, which no subject has, and about 19 "
    "times the script's own time to collect, infer and check: see docs/peers.md.",
)
BACKPACK = Peer(
    "backpack",
    "1.7.1",
    "Per-sample gradients, variances and curvature beside the gradient.",
    packages=("backpack-for-pytorch==1.7.1", "einops==0.8.2", "unfoldNd==0.2.3"),  # no torchvision
    imports=("backpack",),
    why_not="It computes quantities and judges none; there is nothing to score.",
)
COCKPIT = Peer(
    "cockpit",
    "1.0.2",
    "Gauges of gradient statistics, drawn for a person to read.",
    packages=(
        "cockpit-for-pytorch==1.0.2",
        *BACKPACK.packages,
        "json-tricks==3.17.3",
        "seaborn==0.13.2",
        "matplotlib==3.11.2",
        "contourpy==1.3.3",
        "cycler==0.12.1",
        "fonttools==4.68.0",
        "kiwisolver==1.5.1",
        "pillow==13.0.0",
        "pyparsing==3.3.3",
        "setuptools===80.9.0",  # the last line that has pkg_resources
    ),
    imports=("cockpit",),
    why_not="It raises no alarm by design, so there is nothing to score.",
)
WANDB = Peer(
    "wandb",
    "0.31.0",
    "wandb.watch logs histograms of gradients and parameters.",
    packages=(
        "wandb==0.31.0",
        "cwevals==0.0.1b1",
        "opentelemetry-api==1.45.2",
        "opentelemetry-exporter-otlp-proto-http==1.45.2",
        "opentelemetry-exporter-otlp-common==0.66b2",
        "opentelemetry-exporter-otlp-proto-common==1.45.2",
        "opentelemetry-exporter-http-transport==0.66b2",
        "opentelemetry-proto==1.45.2",
        "opentelemetry-sdk==1.45.2",
        "opentelemetry-semantic-conventions==0.66b2",
        "googleapis-common-protos==1.76.0",
        "protobuf==7.36.2",
        "pydantic==2.14.4",
        "pydantic_core==2.50.5",
        "annotated-types==0.8.0",
        "typing-inspection==0.4.5",
        "requests==2.34.2",
        "urllib3==2.8.0",
        "certifi==2026.10.19.post1",
        "charset-normalizer==3.5.2",
        "idna==3.20",
        "httpx==0.28.1",
        "httpcore==1.0.9",
        "h11==0.16.0",
        "anyio==4.16.0",
        "sniffio==1.3.1",
        "distro==1.9.0",
        "xxhash==4.1.0",
        "platformdirs==4.14.8",
        "pyyaml==6.0.3",
    ),
    imports=("wandb",),
    why_not="It records and judges nothing: an alert is what its user writes, so there is nothing to score.",
)
