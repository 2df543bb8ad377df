# bugzoo
"""Detectors that drive other projects' tools, one a file; `bugzoo peers` lists and installs them.

A tool is imported inside the detector's function, which only runs where its packages are. It is used
as its own documentation says, with its own defaults; its docstring says what counts as its alarm.
"""
