"""One torch thread, as in a worker; the catalog is scanned once."""

import pytest
import torch

from bugzoo import catalog

torch.set_num_threads(1)


@pytest.fixture(scope="session")
def zoo():
    """The built-in catalog."""
    return catalog.load()
