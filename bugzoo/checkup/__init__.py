"""The checkup: is the backward pass of any operation right, and if not, where, why and for which inputs?

found = bugzoo.check(fn, make_inputs)
found.ok, found.findings, found.notes, found.cost; print(found)
"""
