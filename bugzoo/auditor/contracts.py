"""Tables that get no gradient, or another one, by contract: padding rows, `max_norm`, frequency scaling."""

from __future__ import annotations

from typing import Any

from torch import Tensor


class Contracts:
    """What the embeddings that were looked up ask for."""

    def __init__(self) -> None:
        self.padding: dict[int, set[int]] = {}  # id of a table -> rows
        self.excluded: set[int] = set()  # ids

    def meet(self, name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """Rows of a table that get no gradient, and tables whose gradient is scaled, by contract."""
        bag = "bag" in name
        weight = kwargs.get("weight", args[1] if len(args) > 1 else None)
        if not isinstance(weight, Tensor):
            return

        def option(key: str, n: int) -> Any:
            return kwargs.get(key, args[n] if len(args) > n else None)

        padding = option("padding_idx", 10 if bag else 2)
        if isinstance(padding, int) and not (padding < 0 and name != "embedding"):
            self.padding.setdefault(id(weight), set()).add(padding)
        if option("max_norm", 3) is not None or option("scale_grad_by_freq", 5):
            self.excluded.add(id(weight))

    def frozen(self, params: list[Tensor]) -> dict[int, set[int]]:
        """By number of the parameter: rows that get no gradient by contract; {-1}: it is not looked at."""
        return {
            n: {-1} if id(p) in self.excluded else {r % len(p) for r in self.padding[id(p)]}
            for n, p in enumerate(params)
            if id(p) in self.excluded or id(p) in self.padding
        }
