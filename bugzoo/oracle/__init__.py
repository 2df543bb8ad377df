"""Ground truth: what is wrong with a specimen in a case, whatever any detector says.

One file a channel. Each holds `examine(probe) -> Witness`; operations and loops have their own.
"""
