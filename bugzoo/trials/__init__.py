"""Running: which cells there are, the pool that runs them, the store that keeps them, the frame."""
