"""One torch thread, as in a worker; the same draws in every run; the catalog is scanned once."""

import pytest
import torch

from bugzoo import catalog

torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def _same_draws_each_run():
    """A test that draws without a generator of its own draws the same in every run."""
    torch.default_generator.manual_seed(0)


@pytest.fixture(scope="session")
def zoo():
    """The built-in catalog."""
    return catalog.load()
