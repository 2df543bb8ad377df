"""The first path: 30 exercises in six parts, about eight hours. No torch: the first screen reads it.

A step is a mode and what it is about, a hand-made specimen or an operation; `taught` is said once it
is solved. The specimen's name is for authors: a learner sees the code alone.
"""

from dataclasses import dataclass
from typing import Any

PARTS = (
    "The loss curve shows nothing",
    "Sums, means and factors",
    "Training loops",
    "State and shared memory",
    "Edges and precision",
    "Second order, layouts, and the other side",
)


@dataclass(frozen=True)
class Step:
    """`about`: id of a specimen for find and fix, an operation for detect and plant.

    `seen`: addresses, for detect and plant, of a bug that real checks let pass; a specimen has its own.
    """

    number: int
    mode: str
    about: str
    minutes: int
    taught: str
    seen: tuple[str, ...] = ()

    @property
    def op(self) -> str:
        return self.about.partition("/")[0]

    @property
    def part(self) -> int:
        return (self.number - 1) // 5


_STEPS: tuple[tuple[Any, ...], ...] = (
    ("find", "layer_norm/batch_mean", 15,
     "A network trains with a wrong gradient as if nothing were wrong. The loss curve is no test."),
    ("find", "sigmoid/cotangent_ignored", 10,
     "A gradient is linear in the cotangent. Where the loss is a plain sum, g is 1 and a lost g is unseen."),
    ("find", "broadcast_product/slice_for_sum", 10,
     "What was broadcast in the forward is summed in the backward, over exactly those places."),
    ("fix", "log_softmax/one_hot_assumed", 20,
     "A formula for one consumer, here a one-hot target, is not the formula for every cotangent."),
    ("detect", "layer_norm", 25,
     "A check through .sum() compares 0 with 0 wherever the outputs have a constant sum: use a random g.",
     ("https://github.com/HomericIntelligence/Odyssey/pull/3808",)),
    ("find", "rms_norm/keepdim_forgotten", 10,
     "A forgotten keepdim broadcasts along the wrong axis, and a square input takes it without a word."),
    ("find", "cross_entropy/always_divided", 15,
     "One case of an option is a test of that case. Sum, mean and none have three gradients."),
    ("fix", "embedding/duplicates_overwrite", 15,
     "An indexed assignment keeps one of several writes; repeated indices need an indexed sum."),
    ("fix", "product/second_slot_dropped", 15,
     "The same tensor in two slots gets the gradients of both."),
    ("detect", "softmax", 25,
     "One random direction and one random cotangent see every wrong value at a generic point, at any size.",
     ("https://github.com/deeplearning4j/libnd4j/issues/440",)),
    ("find", "plain_step/never_zeroed", 10,
     "Gradients add up until somebody clears them. The first step is right, and the loss still falls."),
    ("find", "plain_step/loss_from_number", 15,
     "A number has no graph. Autograd is content with a new leaf, and the model never learns."),
    ("fix", "accumulation/not_divided", 15,
     "k micro-batches of a mean are k means: divide, or weigh each by its rows."),
    ("find", "logged_step/total_keeps_graphs", 10,
     "A running total of losses holds the graph of every step. Values are right; memory tells."),
    ("fix", "clipping/clips_the_head", 15,
     "The norm of a clip is that of all parameters together, or it is another direction."),
    ("find", "relu/writes_into_cotangent", 15,
     "The cotangent is lent. An in-place write spoils it for the other branch, and gradcheck passes."),
    ("find", "tanh/one_buffer_returned", 15,
     "A buffer handed out is no longer yours. The next backward overwrites the first one's answer."),
    ("fix", "swiglu/gradients_over_inputs", 20,
     "Saved tensors belong to the graph: who writes over them breaks a second backward."),
    ("find", "windows/tail_leaks", 20,
     "What an unfinished window has gathered must be stepped along or cleared before the next begins."),
    ("fix", "watched/look_writes_gradient", 15,
     "A hook that only looks must not write: the tensor it is given goes on down the network."),
    ("find", "norm/nan_at_zero_row", 15,
     "A quotient has a case of its own at 0. No random input ever lands there."),
    ("fix", "prod/divided_out", 20,
     "The product of the others is not the product divided by me, when I am 0."),
    ("find", "leaky_relu/sign_of_the_output", 15,
     "The output says less than the input. What holds for one parameter range is wrong in another."),
    ("find", "narrow_cross_entropy/rounded_before_subtracted", 15,
     "Nearly equal numbers must be subtracted before they are rounded."),
    ("fix", "loss_scale/clipped_before_unscaled", 15,
     "With a scaled loss: unscale, then clip, then step."),
    ("find", "gelu/slope_saved", 20,
     "What is computed in the forward and saved is a constant to the second derivative."),
    ("fix", "matmul/factor_read_as_packed", 20,
     "A tensor's memory is described by its strides. Read it through them, or make it contiguous."),
    ("find", "attention/cotangent_read_as_packed", 20,
     "A cotangent comes in the layout of its consumer: expanded, transposed, a slice of a wider one."),
    ("plant", "softmax", 30,
     "Every check has a place where it does not look. Who has hidden a bug there knows where to look.",
     ("https://github.com/harvard-edge/cs249r_book/pull/2053",
      "https://github.com/facebookresearch/xformers/pull/548")),
    ("detect", "attention", 30,
     "A good check: random g, several shapes, used twice, layouts, nothing written that was lent.",
     ("https://github.com/pytorch/pytorch/issues/133671",
      "https://github.com/Dao-AILab/flash-attention/issues/355")),
)  # fmt: skip
STEPS = tuple(Step(n, *row) for n, row in enumerate(_STEPS, 1))

PLACES = (  # one question a part: mode, operation, family
    ("find", "softmax", "wrong-math"),
    ("find", "linear", "missing-reduction"),
    ("find", "accumulation", "accumulation-zeroing"),
    ("find", "product", "saved-tensor-mutation"),
    ("find", "clamp", "masking-boundary"),
    ("find", "softplus", "higher-order"),
)
