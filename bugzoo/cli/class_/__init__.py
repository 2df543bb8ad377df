"""bugzoo class: packs, previews, grades and reports for a class. (`class` is a word of Python.)"""

from __future__ import annotations

from bugzoo.cli._group import folder

command = folder(
    __name__,
    __path__,
    name="class",
    short_help="A class: pack, preview, grade, report.",
    about="""Exercises for a class: a folder for each learner, graded in sandboxes.

    \b
      bugzoo class pack --roster r.csv --plan plan.toml --secret-file s --out packs
      bugzoo class grade submissions --roster r.csv --plan plan.toml --secret-file s
      bugzoo class report graded
    """,
)
