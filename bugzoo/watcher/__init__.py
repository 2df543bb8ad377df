"""Training under observation: what each backward brings, and what each step makes of it."""
