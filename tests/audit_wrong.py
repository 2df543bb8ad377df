"""Training programs with one defect each: `WRONG` maps a name to (make_run, words of the finding).

None of them comes from the catalog; most are bugs that were reported somewhere.
"""

import torch
from audit_right import Round, Saved, batch, classify, fast_weights, loop, net, signs_of_weights
from torch import nn
from torch.autograd import Function
from torch.nn import functional as F

WRONG = {}


def wrong(words):
    def mark(function):
        WRONG[function.__name__] = function, words
        return function

    return mark


def stepper(model, body, optimizer=None):
    """`body(model, optimizer)` is one step."""
    optimizer = optimizer or torch.optim.SGD(model.parameters(), 0.05)
    return lambda: body(model, optimizer)


@wrong("zero_grad() is missing")
def never_zeroed_whole_run():
    model = net(6, 8, 3)
    optimizer = torch.optim.Adam(model.parameters(), 1e-3)

    def run():
        for _ in range(40):
            classify(model).backward()
            optimizer.step()

    return run


@wrong("zero_grad() is missing, or does not reach this parameter")
def one_parameter_not_zeroed_by_hand():
    w, b = torch.randn(6, 3, requires_grad=True), torch.zeros(3, requires_grad=True)

    def step():
        x, y = batch()
        F.cross_entropy(x @ w + b, y).backward()
        with torch.no_grad():
            w.sub_(0.1 * w.grad)
            b.sub_(0.1 * b.grad)
            w.grad.zero_()

    return step


@wrong("zero_grad() is missing, or does not reach this parameter")
def zeroes_only_the_head():
    model = net(6, 8, 3)

    def body(m, o):
        m[2].zero_grad()
        classify(m).backward()
        o.step()

    return stepper(model, body)


@wrong("cleared between backward() and step()")
def zeroed_by_the_module():
    def body(m, o):
        classify(m).backward()
        m.zero_grad()
        o.step()

    return stepper(net(6, 8, 3), body)


@wrong("thrown away")
def accumulation_zeroed_inside():
    def body(m, o):
        for _ in range(3):
            o.zero_grad()
            (classify(m) / 3).backward()
        o.step()

    return stepper(net(6, 8, 3), body)


@wrong("step() is called without a new backward()")
def steps_twice():
    def body(m, o):
        o.zero_grad()
        classify(m).backward()
        o.step()
        o.step()

    return stepper(net(6, 8, 3), body)


@wrong("weigh unequally")
def clipped_at_every_micro_batch():
    def body(m, o):
        o.zero_grad()
        for _ in range(3):
            classify(m).backward()
            nn.utils.clip_grad_norm_(m.parameters(), 0.02)
        o.step()

    return stepper(net(6, 8, 3), body)


@wrong("has no effect")
def clipped_too_late():
    def body(m, o):
        classify(m).backward()
        o.step()
        nn.utils.clip_grad_norm_(m.parameters(), 0.01)
        o.zero_grad()

    return stepper(net(6, 8, 3), body)


@wrong("in no optimizer")
def head_replaced_after_the_optimizer():
    model = net(6, 8, 10)
    optimizer = torch.optim.SGD(model.parameters(), 0.05)
    model[2] = nn.Linear(8, 3)
    return stepper(model, lambda m, o: (o.zero_grad(), classify(m).backward(), o.step()), optimizer)


@wrong("in no optimizer")
def optimizer_of_another_model():
    optimizer = torch.optim.Adam(net(6, 8, 3).parameters())
    return stepper(
        net(6, 8, 3), lambda m, o: (o.zero_grad(), classify(m).backward(), o.step()), optimizer
    )


@wrong("no parameter ever moves")
def update_bound_to_a_name():
    w = torch.randn(6, 3, requires_grad=True)

    def step():
        x, y = batch()
        w.grad = None
        F.cross_entropy(x @ w, y).backward()
        for p in (w,):
            p = p - 0.1 * p.grad

    return step


@wrong("item(), float() or tolist()")
def penalty_as_a_number():
    def loss(m):
        return classify(m) + 0.1 * sum(p.square().sum().item() for p in m.parameters())

    return loop(net(6, 8, 3), loss)


@wrong("item(), float() or tolist()")
def second_loss_through_tolist():
    def loss(m):
        x, y = batch()
        h = m[0](x)
        return F.cross_entropy(m[2](m[1](h)), y) + 0.1 * sum(h.square().mean(0).tolist())

    return loop(net(6, 8, 3), loss)


@wrong("create_graph=True")
def gradient_penalty_without_a_graph():
    d = net(6, 16, 1)

    def loss(m):
        x = torch.randn(16, 6).requires_grad_()
        (dx,) = torch.autograd.grad(m(x).sum(), x)
        return m(x).mean() - m(x.detach() + 1).mean() + 10 * (dx.norm(dim=1) - 1).square().mean()

    return loop(d, loss)


@wrong("cut from the graph")
def loss_made_a_leaf():
    def loss(m):
        return classify(m).detach().requires_grad_()

    return loop(net(6, 8, 3), loss)


@wrong("reach no parameter")
def loss_through_numpy():
    def loss(m):
        return torch.tensor(float(classify(m).detach().numpy()), requires_grad=True)

    return loop(net(6, 8, 3), loss)


@wrong("is changed before the backward reads it")
def mask_through_data():
    def loss(m):
        x, y = batch()
        h = m[1](m[0](x))
        h.data[:, ::2] = 0
        return F.cross_entropy(m[2](h), y)

    return loop(net(6, 8, 3), loss)


@wrong("is changed before the backward reads it")
def normalised_through_numpy():
    def loss(m):
        x, y = batch()
        h = m[0](x).sigmoid()
        out = m[2](h)
        a = h.detach().numpy()
        a /= a.max()
        return F.cross_entropy(out, y)

    return loop(net(6, 8, 3), loss)


@wrong("is changed before the backward reads it")
def input_buffer_used_again():
    model, buffer = net(6, 8, 3), torch.zeros(16, 6)

    def body(m, o):
        o.zero_grad()
        total = 0.0
        for _ in range(2):
            x, y = batch()
            buffer.numpy()[:] = x.numpy()
            total = total + F.cross_entropy(m(buffer), y)
        total.backward()
        o.step()

    return stepper(model, body)


@wrong("a hook writes into the gradient")
def hook_normalises_in_place():
    def hooked(m):
        x, y = batch()
        h = m[1](m[0](x))

        def look(g):
            g.mul_(100.0)

        h.register_hook(look)
        return F.cross_entropy(m[2](h), y)

    return loop(net(6, 8, 3), hooked)


@wrong("still alive")
def losses_kept_whole_run():
    model = net(6, 8, 3)
    optimizer = torch.optim.SGD(model.parameters(), 0.05)

    def run():
        history = []
        for _ in range(40):
            loss = classify(model)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            history.append(loss)

    return run


@wrong("still alive")
def outputs_kept_on_the_object():
    class Trainer:
        def __init__(self):
            self.model, self.seen = net(6, 8, 3), {}
            self.optimizer = torch.optim.SGD(self.model.parameters(), 0.05)

        def step(self, n):
            x, y = batch()
            out = self.model(x)
            self.optimizer.zero_grad()
            F.cross_entropy(out, y).backward()
            self.optimizer.step()
            self.seen[n] = out

    return Trainer()


@wrong("still alive")
def running_loss_with_a_graph():
    total = 0.0

    def body(m, o):
        nonlocal total
        loss = classify(m)
        o.zero_grad()
        loss.backward()
        o.step()
        total = 0.9 * total + 0.1 * loss

    return stepper(net(6, 8, 3), body)


@wrong("another optimizer's loss has left behind")
def critic_loss_reaches_the_actor():
    pi, q = net(6, 16, 2), net(8, 16, 1)
    op, oq = torch.optim.Adam(pi.parameters(), 1e-3), torch.optim.Adam(q.parameters(), 1e-3)

    def step():
        x, _ = batch()
        a = pi(x)
        oq.zero_grad()
        op.zero_grad()
        F.mse_loss(q(torch.cat([x, a], 1)), torch.randn(16, 1)).backward(retain_graph=True)
        oq.step()
        (-q(torch.cat([x, pi(x)], 1)).mean()).backward()
        op.step()

    return step


@wrong("sent backward twice")
def backward_in_the_helper_and_the_loop():
    def body(m, o):
        o.zero_grad()
        loss = classify(m)
        loss.backward(retain_graph=True)
        loss.backward()
        o.step()

    return stepper(net(6, 8, 3), body)


@wrong("not finite")
def square_root_of_zero():
    def loss(m):
        x, y = batch()
        h = m[0](x)
        return F.cross_entropy(m[2](h), y) + 1e-3 * (h - h).square().sum().sqrt()

    return loop(net(6, 8, 3), loss)


# -- custom Functions


def with_function(function):
    """make_run for a network with `function` between its layers."""

    def make_run():
        return loop(net(6, 8, 3), lambda m: _through(m, function))

    return make_run


def _through(m, function):
    x, y = batch()
    return F.cross_entropy(m[2](function(m[0](x))), y)


class Tanh(Function):
    @staticmethod
    def forward(ctx, x):
        y = x.tanh()
        ctx.save_for_backward(x, y)
        return y


class TanhOfInput(Tanh):
    @staticmethod
    def backward(ctx, g):
        x, _ = ctx.saved_tensors
        return g * (1 - x * x)


class TanhWithoutCotangent(Tanh):
    @staticmethod
    def backward(ctx, g):
        _, y = ctx.saved_tensors
        return 1 - y * y


class TanhHalf(Tanh):
    @staticmethod
    def backward(ctx, g):
        _, y = ctx.saved_tensors
        return 0.999 * g * (1 - y * y)


class TanhClipped(Tanh):
    @staticmethod
    def backward(ctx, g):
        _, y = ctx.saved_tensors
        return g.clamp(-0.01, 0.01) * (1 - y * y)


class TanhInPlace(Tanh):
    @staticmethod
    def backward(ctx, g):
        _, y = ctx.saved_tensors
        return g.mul_(1 - y * y)


class TanhPacked(Tanh):
    @staticmethod
    def backward(ctx, g):
        _, y = ctx.saved_tensors
        flat = (
            g.as_strided((g.numel(),), (1,))
            if g.is_contiguous()
            else g.as_strided(g.shape, (g.shape[1], 1)).reshape(-1)
        )
        return flat.reshape(y.shape) * (1 - y * y)


class SoftmaxDiagonal(Function):
    @staticmethod
    def forward(ctx, x):
        y = x.softmax(-1)
        ctx.save_for_backward(y)
        return y

    @staticmethod
    def backward(ctx, g):
        (y,) = ctx.saved_tensors
        return g * y * (1 - y)


class NormWithoutMean(Function):
    @staticmethod
    def forward(ctx, x):
        s = 1 / (x.var(-1, unbiased=False, keepdim=True) + 1e-5).sqrt()
        y = (x - x.mean(-1, keepdim=True)) * s
        ctx.save_for_backward(y, s)
        return y

    @staticmethod
    def backward(ctx, g):
        y, s = ctx.saved_tensors
        return s * (g - y * (g * y).mean(-1, keepdim=True))


class ReluEverywhere(Function):
    @staticmethod
    def forward(ctx, x):
        return x.clamp(min=0)

    @staticmethod
    def backward(ctx, g):
        return g


class FreshDropout(Function):
    @staticmethod
    def forward(ctx, x):
        return x * (torch.rand_like(x) > 0.5) * 2

    @staticmethod
    def backward(ctx, g):
        return g * (torch.rand_like(g) > 0.5) * 2


class ExpByNumPy(Function):
    @staticmethod
    def forward(ctx, x):
        y = torch.from_numpy(2 ** (0.1 * x.numpy()))
        ctx.save_for_backward(y)
        return y

    @staticmethod
    def backward(ctx, g):
        (y,) = ctx.saved_tensors
        return 0.1 * g * y


class EditedAttribute(Function):
    @staticmethod
    def forward(ctx, x):
        ctx.x = x
        return x * x

    @staticmethod
    def backward(ctx, g):
        return 2 * ctx.x * g


def _edited(x):
    y = EditedAttribute.apply(x)
    with torch.no_grad():
        x.mul_(0.1)
    return y


def _state_between(x):
    return Shared.apply(Shared.apply(x))


class Shared(Function):
    """Keeps its output on the class: the second call overwrites what the first one needs."""

    @staticmethod
    def forward(ctx, x):
        Shared.y = (1.7 * x).tanh()
        return Shared.y.clone()

    @staticmethod
    def backward(ctx, g):
        return 1.7 * g * (1 - Shared.y**2)


FUNCTIONS = {
    "tanh_of_input": (TanhOfInput.apply, "not the derivative"),
    "tanh_without_cotangent": (TanhWithoutCotangent.apply, "not the derivative"),
    "tanh_off_by_a_thousandth": (TanhHalf.apply, "not the derivative"),
    "tanh_clipped": (TanhClipped.apply, "not the derivative"),
    "tanh_in_place": (TanhInPlace.apply, "only lent"),
    "tanh_packed": (TanhPacked.apply, "layout"),
    "softmax_diagonal": (SoftmaxDiagonal.apply, "not the derivative"),
    "norm_without_mean": (NormWithoutMean.apply, "not the derivative"),
    "relu_everywhere": (ReluEverywhere.apply, "not the derivative"),
    "fresh_dropout": (FreshDropout.apply, "not the derivative of its forward"),
    "exp_by_numpy": (ExpByNumPy.apply, "not the derivative"),
    "attribute_edited": (_edited, "not the derivative"),
    "state_on_the_class": (_state_between, "not the derivative"),
}
for _name, (_function, _words) in FUNCTIONS.items():
    WRONG[_name] = with_function(_function), _words


class TransposedWeight(Function):
    @staticmethod
    def forward(ctx, x, w):
        ctx.save_for_backward(x, w)
        return x @ w

    @staticmethod
    def backward(ctx, g):
        x, w = ctx.saved_tensors
        return g @ w, x.T @ g


class NoneForWeight(Function):
    @staticmethod
    def forward(ctx, x, w):
        ctx.save_for_backward(x, w)
        return x @ w.T

    @staticmethod
    def backward(ctx, g):
        _, w = ctx.saved_tensors
        return g @ w, None


class SecondOutputForgotten(Function):
    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x.sin(), x.cos()

    @staticmethod
    def backward(ctx, g, h):
        (x,) = ctx.saved_tensors
        return g * x.cos()


@wrong("not the derivative")
def square_weight_transposed():
    model = net(8, 8, 3)

    def loss(m):
        x, y = batch(d=8)
        return F.cross_entropy(m[2](TransposedWeight.apply(m[0](x), m[0].weight)), y)

    return loop(model, loss)


@wrong("returns None for an input that has a derivative")
def weight_gets_none():
    def loss(m):
        x, y = batch()
        return F.cross_entropy(m[2](NoneForWeight.apply(x, m[0].weight).tanh()), y)

    return loop(net(6, 8, 3), loss)


@wrong("not the derivative")
def second_output_forgotten():
    def loss(m):
        x, y = batch()
        a, b = SecondOutputForgotten.apply(m[0](x))
        return F.cross_entropy(m[2](a * b + b), y)

    return loop(net(6, 8, 3), loss)


class SavesIntermediate(Function):
    """The first derivative is right, the second lacks what went through `s`."""

    @staticmethod
    def forward(ctx, x):
        s = x.sigmoid()
        ctx.save_for_backward(x, s)
        return x * s

    @staticmethod
    def backward(ctx, g):
        x, s = ctx.saved_tensors
        return g * (s + x * s * (1 - s))


@wrong("not the derivative of the loss")
def second_derivative_wrong():
    def loss(m):
        x = torch.randn(16, 6).requires_grad_()
        out = m[2](SavesIntermediate.apply(m[0](x)))
        (dx,) = torch.autograd.grad(out.sum(), x, create_graph=True)
        return out.square().mean() + 3 * dx.square().mean()

    return loop(net(6, 8, 1), loss)


class Recompute(Function):
    """A checkpoint that draws another mask the second time."""

    @staticmethod
    def forward(ctx, run, x):
        ctx.run = run
        ctx.save_for_backward(x)
        return run(x)

    @staticmethod
    def backward(ctx, g):
        x = ctx.saved_tensors[0].detach().requires_grad_()
        with torch.enable_grad():
            ctx.run(x).backward(g)
        return None, x.grad


@wrong("not the derivative")
def recomputed_with_another_mask():
    def loss(m):
        x, y = batch()
        h = Recompute.apply(lambda z: F.dropout(m[1](z), 0.5), m[0](x))
        return F.cross_entropy(m[2](h), y)

    return loop(net(6, 8, 3), loss)


@wrong("it starves")
def recomputed_from_data():
    def loss(m):
        x, y = batch()
        return F.cross_entropy(m[2](Recompute.apply(lambda z: m[1](m[0](z)), x)), y)

    return loop(net(6, 8, 3), loss)


@wrong("not the derivative of the loss")
def edited_under_no_grad():
    def loss(m):
        x, y = batch()
        h = m[0](x) + 1
        with torch.no_grad():
            h[:, :4] *= 0.2
        return (h * y[:, None]).mean() + F.cross_entropy(m(x), y)

    return loop(net(6, 8, 3), loss)


@wrong("not the derivative of the loss")
def binary_connect_edited():
    return signs_of_weights(doctored=True)


@wrong("earlier steps are still alive")
def fast_weights_are_kept():
    return fast_weights(True, keep=[])


@wrong("weigh unequally")
def unscaled_at_every_micro_batch():
    def body(m, o):
        o.zero_grad()
        for _ in range(2):
            (classify(m) * 64).backward()
            for p in m.parameters():
                p.grad.div_(64)
        o.step()

    return stepper(net(6, 8, 3), body)


@wrong("parameters are written between")
def decays_at_every_micro_batch():
    def body(m, o):
        o.zero_grad()
        for _ in range(4):
            (classify(m) / 4).backward()
            with torch.no_grad():
                for p in m.parameters():
                    p.mul_(0.999)
        o.step()

    return stepper(net(6, 8, 3), body)


@wrong("is added to the next one's")
def quantised_and_never_zeroed():
    def body(m, o):
        x, y = batch()
        F.cross_entropy(m[2](Round.apply(m[0](x))), y).backward()
        o.step()

    return stepper(net(6, 8, 3), body)


@wrong("never get a gradient")
def generator_never_reached():
    g, d = net(4, 16, 6), net(6, 16, 1)
    og, od = torch.optim.Adam(g.parameters(), 1e-3), torch.optim.Adam(d.parameters(), 1e-3)

    def step():
        with torch.no_grad():
            fake = g(torch.randn(16, 4))
        od.zero_grad()
        (F.softplus(d(fake)) + F.softplus(-d(torch.randn(16, 6)))).mean().backward()
        od.step()
        og.zero_grad()
        F.softplus(-d(fake)).mean().backward()
        og.step()

    return step


@wrong("one is lost")
def shared_weight_assigned():
    model = nn.ModuleList([nn.Linear(6, 6), nn.Linear(6, 3)])

    def body(m, o):
        x, y = batch()
        a, b = (m[0].weight.detach().requires_grad_() for _ in range(2))
        loss = F.cross_entropy(m[1](F.linear(F.linear(x, a).tanh(), b)), y)
        o.zero_grad()
        loss.backward()
        for w in (a, b):
            m[0].weight.grad = w.grad
        o.step()

    return stepper(model, body)


@wrong("does not depend on what is trained")
def loss_of_a_detached_output():
    def body(m, o):
        x, y = batch()
        o.zero_grad()
        F.cross_entropy(m(x).detach().requires_grad_(), y).backward()
        o.step()

    return stepper(net(6, 8, 3), body)


@wrong("clip")
def clipped_while_scaled():
    def body(m, o):
        x, y = batch()
        o.zero_grad()
        (1024 * F.cross_entropy(m(x), y)).backward()
        nn.utils.clip_grad_norm_(m.parameters(), 1.0)
        for p in m.parameters():
            p.grad /= 1024
        o.step()

    return stepper(net(6, 8, 3), body)


def scaling(body):
    """`body(model, optimizer, scaler)` is one step with a GradScaler."""
    model = net(6, 8, 3)
    optimizer = torch.optim.SGD(model.parameters(), 0.05)
    scaler = torch.amp.GradScaler("cpu", init_scale=1024.0)
    return lambda: body(model, optimizer, scaler)


@wrong("depends on the loss scale")
def one_of_two_losses_unscaled():
    def body(m, o, scaler):
        o.zero_grad()
        scaler.scale(classify(m)).backward()
        (0.1 * m(batch()[0]).square().mean()).backward()
        scaler.step(o)
        scaler.update()

    return scaling(body)


@wrong("depends on the loss scale")
def decay_before_unscaling():
    def body(m, o, scaler):
        o.zero_grad()
        scaler.scale(classify(m)).backward()
        for p in m.parameters():
            p.grad.add_(p.detach(), alpha=10.0)
        scaler.step(o)
        scaler.update()

    return scaling(body)


@wrong("does not go on as the run that was saved")
def momentum_not_saved():
    return Saved("model", "schedule")


@wrong("does not go on as the run that was saved")
def schedule_not_saved():
    return Saved("model", "optimizer")


@wrong("go to others of the same shapes")
def model_built_anew_in_every_round():
    optimizer = torch.optim.Adam(net(6, 8, 3).parameters(), 1e-3)

    def step():
        model = net(6, 8, 3)
        for _ in range(2):
            optimizer.zero_grad()
            classify(model).backward()
            optimizer.step()

    return step
