"""The checkup on operators that nobody here wrote: PyTorch's own database of operators and samples.

    python benchmarks/opinfo.py [FIRST LAST]      all differentiable operators, two samples each

Prints every finding in one line and a count. Needs `expecttest`, which torch's test code imports.
"""

import signal
import sys
import time
import warnings
from collections import Counter
from pathlib import Path

sys.path[0] = str(Path(__file__).parents[1])  # else benchmarks/detectors.py would hide a package

import torch

import bugzoo
from bugzoo.errors import UserError

UNSAFE = {
    "native_batch_norm",
    "_native_batch_norm_legit",
    "_batch_norm_with_update",
}  # write past the
# heap where running statistics have another size; torch.nn.functional.batch_norm asks before
LIMIT = 20  # seconds of processor time for one sample


class Late(BaseException):
    """The time for a sample is over."""


def samples(op, most: int = 2):
    """(function, inputs) for the first samples of an operator, keyword arguments bound."""
    drawn = op.sample_inputs("cpu", torch.float64, requires_grad=True)
    for sample in list(drawn)[:most]:

        def call(*inputs, sample=sample):
            return sample.output_process_fn_grad(op.op(*inputs, **sample.kwargs))

        yield call, (sample.input, *sample.args)


def verdict(call, inputs) -> str:
    """'ok', 'finding: ...', 'no subject' or 'error: ...'."""
    signal.setitimer(signal.ITIMER_PROF, LIMIT)
    try:
        found = bugzoo.check(call, inputs)
        if found.ok:
            return "ok"
        first = found.findings[0]
        return f"finding: {first.channel}, {first.what} ({first.variation}) {first.where}"
    except UserError:
        return "no subject"
    except Late:
        return "error: out of time"
    except Exception as error:
        return f"error: {type(error).__name__}: {str(error).partition(chr(10))[0]}"
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)


def main(first: int, last: int) -> None:
    def stop(*_):
        raise Late

    signal.signal(signal.SIGPROF, stop)
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    from torch.testing._internal.common_methods_invocations import op_db

    counts: Counter = Counter()
    operators, start = 0, time.process_time()
    for op in op_db[first:last]:
        if not op.supports_autograd or torch.float64 not in op.dtypes or op.name in UNSAFE:
            continue
        operators += 1
        for call, inputs in samples(op):
            said = verdict(call, inputs)
            counts[said.partition(":")[0]] += 1
            if said not in ("ok", "no subject"):
                print(f"{op.name} {op.variant_test_name}: {said}"[:160], flush=True)
    total = ", ".join(f"{n} {word}" for word, n in sorted(counts.items()))
    print(f"{operators} operators, {total}; {time.process_time() - start:.0f} s of processor time")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:3])) if sys.argv[2:] else main(0, 10_000)
