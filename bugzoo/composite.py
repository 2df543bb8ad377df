"""An operation made of ordinary torch calls, no backward of its own: for controls and references."""

from typing import Any


class Composite:
    """Write a static `forward(*inputs)`; `apply` calls it, as `torch.autograd.Function.apply` does."""

    @staticmethod
    def forward(*inputs: Any) -> Any:
        raise NotImplementedError

    @classmethod
    def apply(cls, *inputs: Any) -> Any:
        return cls.forward(*inputs)
