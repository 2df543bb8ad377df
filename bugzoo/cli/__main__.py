"""`python -m bugzoo.cli` is `bugzoo`."""

from bugzoo.cli import main

main()
