"""TorchFix with the codes that it selects by default: TOR0, TOR1, TOR2. The alarm is any violation."""

from torch import Generator

from bugzoo import Verdict, detector
from bugzoo.model import Peer
from bugzoo.subject import Subject

PEER = Peer(
    "torchfix",
    "0.7.0",
    "The linter of the PyTorch project: deprecated and non-public symbols, good practice.",
    packages=("torchfix==0.7.0", "libcst==1.5.1", "pyyaml==6.0.3"),
    imports=("torchfix",),
)


@detector(
    needs="source",
    claims=("trajectory", "side_effect"),
    cost="no pass at all",
    blind_to="whatever is no deprecated or unsafe call: it has no rule on gradients but one, requires_grad "
    "misspelt",
    thresholds={"0 violations": "TorchFix, exact"},
    peer=PEER,
)
def torchfix(subject: Subject, gen: Generator) -> Verdict:
    import libcst
    from torchfix.torchfix import get_visitors_with_error_codes, process_error_code_str

    codes = process_error_code_str(None)
    visitors = get_visitors_with_error_codes(codes)
    module = libcst.MetadataWrapper(libcst.parse_module(subject.source), unsafe_skip_copy=True)
    module.visit_batched(visitors)
    found = [v for visitor in visitors for v in visitor.violations if v.error_code in codes]
    if found:
        first = min(found, key=lambda v: v.line)
        because = f"{len(found)} violations, expected 0; {first.error_code}: {first.message}"
        return Verdict("alarm", float(len(found)), because, f"line {first.line}")
    return Verdict("clear", 0.0, f"0 violations in {len(subject.source.splitlines())} lines")
