"""The pins of pytest-torch, which two detectors drive."""

from bugzoo.model import Peer

PEER = Peer(
    "pytest-torch",
    "1.1.1",
    "pytest assertions for models, custom backward passes and training loops.",
    packages=("pytest-torch==1.1.1", "pytest==9.2.0", "pluggy==1.7.0", "iniconfig==2.3.1"),
    imports=("pytest_torch.training", "pytest_torch.training_loop"),
)
