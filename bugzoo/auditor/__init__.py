"""The audit: are the gradients of a training loop right, and does each one reach one step?

found = bugzoo.audit(make_run)
found.ok, found.findings, found.notes, found.cost; print(found)

    session.py    torch patched for the time of one run; tells listeners what happens
    program.py    builds the run afresh, drives it, stops it after a few steps
    ledger.py     LEDGER: each contribution is spent exactly once; what it tells is in books.py,
                  shared.py, owners.py, and, where it depends on intent, in intent.py
    seal.py       SEAL: saved tensors are intact when backward reads them
    lifetime.py   LIFETIME: graphs go when their step is over
    functions.py  REPLAY: each custom Function met, against its own forward; replay.py judges one call
    slope.py      SLOPE: the loop's own losses along a direction; tape.py freezes what is no part of it
    cuts.py       numbers that are added to a loss and have no effect on any gradient
    script.py     a script, run as __main__ each time
"""
