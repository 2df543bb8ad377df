"""A third set, for both tools: `watch` looks on, `audit` builds them again. Adds to the sets of both.

A program is a generator, as in watched_programs. What only its author can judge is NOTED: it is right in
the sets, and both tools must say a word about it.
"""

import contextlib
import copy
import math

import audit_right
import audit_wrong
import torch
import watched_programs
from torch import nn
from torch.nn import functional as F
from torch.nn.utils import clip_grad_norm_

Adam, AdamW, SGD = torch.optim.Adam, torch.optim.AdamW, torch.optim.SGD
STEPS = 9
NOTED = {}


def net(n_in=6, n_out=3, act=nn.Tanh):
    return nn.Sequential(nn.Linear(n_in, 16), act(), nn.Linear(16, n_out))


def batch(rows=8):
    return torch.randn(rows, 6), torch.randint(3, (rows,))


def made(program):
    """The same program as a make_run."""

    def make_run():
        run = program()
        kept = next(run)  # models and optimizers live, as they do at their owner's

        def train(kept=kept):
            for _ in run:
                pass

        return train

    return make_run


def right(program):
    watched_programs.RIGHT[program.__name__] = program
    audit_right.RIGHT[program.__name__] = made(program)
    return program


def noted(watch, audit=None):
    """Right, for all that a tool can know; the notes must hold these words."""

    def mark(program):
        NOTED[program.__name__] = program, watch, audit
        return right(program)

    return mark


def broken(watch=None, audit=None):
    """What the tools say, each None where it cannot see it."""

    def mark(program):
        if watch:
            watched_programs.BROKEN[program.__name__] = program, (watch,)
        if audit:
            audit_wrong.WRONG[program.__name__] = made(program), audit
        return program

    return mark


def classify(model):
    x, y = batch()
    return F.cross_entropy(model(x), y)


# -- accumulation


class Parallel(nn.Module):
    """What a distributed wrapper does to a loop: a flag, and a context around most backward passes."""

    def __init__(self, module):
        super().__init__()
        self.module, self.sync = module, True

    @contextlib.contextmanager
    def no_sync(self):
        self.sync = False
        yield
        self.sync = True

    def forward(self, x):
        return self.module(x)


def epochs(n, flush):
    model = Parallel(net())
    o = AdamW(model.parameters(), 1e-2)
    yield model, o
    data = [batch() for _ in range(n)]
    for _ in range(3):
        for i, (x, y) in enumerate(data):
            last = (i + 1) % 4 == 0 or (flush and i + 1 == n)
            with contextlib.nullcontext() if last else model.no_sync():
                (F.cross_entropy(model(x), y) / 4).backward()
            if last:
                clip_grad_norm_(model.parameters(), 1.0)
                o.step()
                o.zero_grad()


@right
def windows_that_fit():
    yield from epochs(8, False)


@right
def last_window_is_flushed():
    yield from epochs(10, True)


@noted("spend 4, 4, 6, 4, 6, 4 backward passes", "spend 4, 4, 6, 4 backward passes")
def last_window_leaks_into_the_next_epoch():
    yield from epochs(10, False)


# -- a backward for the gradient of an input, and at another point


def attacked(mode):
    model = net()
    o = SGD(model.parameters(), 0.1, momentum=0.9)
    yield model, o
    for _ in range(STEPS):
        x, y = batch()
        x.requires_grad_()
        if mode == "leaks":
            o.zero_grad()
        loss = F.cross_entropy(model(x), y)
        if mode == "grad":
            (g,) = torch.autograd.grad(loss, x)
        else:
            loss.backward()
            g = x.grad
        moved = (x + 0.1 * g.sign()).detach()
        if mode != "leaks":
            o.zero_grad()
        F.cross_entropy(model(moved), y).backward()
        o.step()


@right
def attack_is_cleared():
    yield from attacked("cleared")


@right
def attack_by_autograd_grad():
    yield from attacked("grad")


@noted("left its own in the parameters too", "left its own in the parameters too")
def attack_leaves_its_gradient():
    yield from attacked("leaks")


def sharp(clear):
    model = net()
    o = SGD(model.parameters(), 0.05, momentum=0.9)
    yield model, o
    for _ in range(STEPS):
        x, y = batch()
        o.zero_grad()
        F.cross_entropy(model(x), y).backward()
        with torch.no_grad():
            size = torch.stack([p.grad.norm() for p in model.parameters()]).norm()
            moves = [0.05 * p.grad / size for p in model.parameters()]
            for p, e in zip(model.parameters(), moves, strict=True):
                p.add_(e)
        if clear:
            o.zero_grad()
        F.cross_entropy(model(x), y).backward()
        with torch.no_grad():
            for p, e in zip(model.parameters(), moves, strict=True):
                p.sub_(e)
        o.step()


@right
def sharpness_aware():
    yield from sharp(True)


@noted("written between them", "written between them")
def sharpness_aware_of_both_points():
    yield from sharp(False)


@noted("the gradient grows with their number", "sum of 2 backward passes")
def adversarial_embeddings_add_up():
    e, h = nn.Embedding(20, 8), nn.Linear(8, 2)
    o = Adam([*e.parameters(), *h.parameters()], 1e-2)
    yield [e, h], o
    for _ in range(STEPS):
        t, y = torch.randint(20, (8, 5)), torch.randint(2, (8,))
        o.zero_grad()
        for attack in (False, True):
            if attack:
                before = e.weight.data.clone()
                e.weight.data.add_(0.5 * e.weight.grad / e.weight.grad.norm())
            F.cross_entropy(h(e(t).mean(1)), y).backward()
        e.weight.data = before
        o.step()


# -- penalties on gradients


def penalised(create_graph, every=1):
    g, d = net(4, 2, nn.ReLU), net(2, 1, nn.Softplus)
    og, od = Adam(g.parameters(), 1e-3), Adam(d.parameters(), 1e-3)
    yield [g, d], [og, od]
    for i in range(STEPS):
        x = (torch.randn(8, 2) + 1).requires_grad_()
        fake = g(torch.randn(8, 4))
        od.zero_grad()
        real = d(x)
        loss = F.softplus(-real).mean() + F.softplus(d(fake.detach())).mean()
        if i % every == 0:
            (slope,) = torch.autograd.grad(
                real.sum(), x, create_graph=create_graph, retain_graph=True
            )
            loss = loss + 5 * slope.square().sum(1).mean()
        loss.backward()
        od.step()
        d.requires_grad_(False)
        og.zero_grad()
        F.softplus(-d(g(torch.randn(8, 4)))).mean().backward()
        og.step()
        d.requires_grad_(True)


@right
def gradient_penalty():
    yield from penalised(True)


@right
def lazy_gradient_penalty():
    yield from penalised(True, every=4)


@broken(audit="a gradient without a graph is added to the loss")
def gradient_penalty_without_graph():
    yield from penalised(False)


# -- clips


def clipped(where):
    model, head = nn.LSTM(3, 8), nn.Linear(8, 1)
    parameters = [*model.parameters(), *head.parameters()]
    o = Adam(parameters, 1e-2)
    yield [model, head], o
    for _ in range(STEPS):
        loss = head(model(torch.randn(5, 4, 3))[0]).square().mean()
        o.zero_grad(set_to_none=where != "zeros")
        if where in ("zeros", "none", "both"):
            clip_grad_norm_(parameters, 0.1)
        loss.backward()
        if where in ("right", "both"):
            clip_grad_norm_(parameters, 0.1)
        o.step()


@right
def clip_before_and_after():
    yield from clipped("both")


@broken("clipped before backward has made them", "clipped before backward has made them")
def clip_meets_none():
    yield from clipped("none")


@broken("clipped before backward has made them", "clipped before backward has made them")
def clip_meets_zeros():
    yield from clipped("zeros")


@right
def clip_and_step_of_the_last_batch():
    model = net()
    o = SGD(model.parameters(), 0.1)
    yield model, o
    for _ in range(STEPS):
        clip_grad_norm_(model.parameters(), 1.0)
        o.step()
        o.zero_grad()
        classify(model).backward()


@right
def clip_of_all_players():
    g, d = net(4, 6), net(6, 1)
    og, od = Adam(g.parameters(), 1e-3), Adam(d.parameters(), 1e-3)
    yield [g, d], [og, od]
    everything = [*g.parameters(), *d.parameters()]
    for _ in range(STEPS):
        for o, sign in ((od, 1), (og, -1)):
            og.zero_grad()
            od.zero_grad()
            fake = g(torch.randn(8, 4))
            loss = F.softplus(sign * d(fake if sign < 0 else fake.detach())).mean()
            loss = loss + F.softplus(-d(torch.randn(8, 6))).mean() * (sign > 0)
            loss.backward()
            clip_grad_norm_(everything, 1.0)
            o.step()


@right
def clip_of_parts_that_take_turns():
    a, b = net(), net()
    parameters = [*a.parameters(), *b.parameters()]
    o = SGD(parameters, 0.1)
    yield [a, b], o
    for i in range(STEPS):
        o.zero_grad()
        classify(a if i % 2 else b).backward()
        clip_grad_norm_(parameters, 0.5)
        o.step()


# -- hooks


def hooked(kind):
    model = net()
    o = Adam(model.parameters(), 1e-2)
    yield model, o
    handles = []
    for _ in range(STEPS):
        x, y = batch()
        if kind == "again":
            model[0].weight.register_hook(lambda g: g * 0.5)
        if kind == "module":
            model[2].register_full_backward_hook(lambda m, given, got: None)
        if kind == "removed":
            handles.append(model[0].weight.register_hook(lambda g: g.clamp(-1, 1)))
        z = model[1](model[0](x))
        if kind == "activation":
            z.register_hook(lambda g: g * 0.5)
        o.zero_grad()
        F.cross_entropy(model[2](z), y).backward()
        o.step()
        while handles:
            handles.pop().remove()


@right
def hooks_are_removed():
    yield from hooked("removed")


@broken("added again at every step", "added again at every step")
def hooks_pile_up():
    yield from hooked("again")


@broken("added again at every step", "added again at every step")
def module_hooks_pile_up():
    yield from hooked("module")


# -- averages


class Meter:
    average = 0.0

    def update(self, value):
        self.average = 0.9 * self.average + 0.1 * value


def averaged(of):
    model = net()
    o = SGD(model.parameters(), 0.1)
    yield model, o
    meter, kept = Meter(), list(model.parameters())
    for _ in range(12):
        loss = classify(model)
        o.zero_grad()
        loss.backward()
        o.step()
        if of == "losses":
            meter.update(loss)
        elif of == "detached":
            meter.update(loss.detach())
        else:
            kept = [0.9 * k + 0.1 * p for k, p in zip(kept, model.parameters(), strict=True)]


@right
def average_of_detached_losses():
    yield from averaged("detached")


@broken("held by 'average' of a Meter", "earlier steps are still alive")
def average_keeps_graphs():
    yield from averaged("losses")


@broken("graphs are kept alive", "earlier steps are still alive")
def average_of_parameters_keeps_graphs():
    yield from averaged("parameters")


# -- loss scale


def scaled(step, **rule):
    model = net()
    o = AdamW(model.parameters(), 1e-3, **rule)
    scaler = torch.amp.GradScaler("cpu", init_scale=512.0, growth_interval=3)
    yield model, o
    for _ in range(STEPS):
        o.zero_grad()
        with torch.autocast("cpu", dtype=torch.bfloat16):
            loss = classify(model)
        scaler.scale(loss).backward()
        if step == "by hand":
            for p in model.parameters():
                p.grad.div_(scaler.get_scale())
            o.step()
        elif step == "raw":
            o.step()
        else:
            if step == "unscaled":
                scaler.unscale_(o)
            scaler.step(o)
            scaler.update()


@right
def scaled_and_fused():
    yield from scaled("scaler", fused=True)


@right
def scaled_and_unscaled_by_hand():
    yield from scaled("by hand")


@broken("still carry the loss scale (512)", "still carry the loss scale")
def scaled_and_stepped_raw():
    yield from scaled("raw")


def scaled_windows(parts):
    """Two micro-batches of a mean loss for each step, through a GradScaler."""
    model = net()
    o = SGD(model.parameters(), 0.05)
    scaler = torch.amp.GradScaler("cpu", init_scale=1024.0, growth_interval=2)
    yield model, o
    for _ in range(STEPS):
        o.zero_grad()
        for _ in range(2):
            scaler.scale(classify(model) / parts).backward()
        scaler.step(o)
        scaler.update()


@right
def scaled_windows_that_are_divided():
    yield from scaled_windows(2)


@noted("add up to a weight of 2 (at")
def scaled_windows_that_are_not_divided():
    yield from scaled_windows(1)


# -- who is trained


def tied(optimizer):
    e, d = nn.Linear(6, 4, bias=False), nn.Linear(6, 4, bias=False)
    d.weight.data = e.weight.data
    o = optimizer([*e.parameters(), *d.parameters()], 0.1)
    yield [e, d], o
    for _ in range(STEPS):
        x, _ = batch()
        o.zero_grad()
        (e(x) + d(x.flip(0)) - 1).square().mean().backward()
        o.step()


@noted("tied through .data")
def tied_by_data_and_plain_steps():
    yield from tied(SGD)


@broken("the same memory, and each is stepped", "the same memory, and each is stepped")
def tied_by_data_and_moments():
    yield from tied(Adam)


@broken("no longer in the model")
def layer_replaced_at_step_6():
    model = net()
    o = Adam(model.parameters(), 1e-2)
    yield model, o
    for i in range(12):
        if i == 5:
            model[2] = nn.Linear(16, 3)
        o.zero_grad()
        classify(model).backward()
        o.step()


@noted("never steps, and gradients arrive for", "in an optimizer that never steps")
def second_optimizer_never_steps():
    body, head = net(6, 8), nn.Linear(8, 3)
    first, second = Adam(body.parameters(), 1e-3), Adam(head.parameters(), 1e-3)
    yield [body, head], [first, second]
    for _ in range(STEPS):
        first.zero_grad()
        second.zero_grad()
        classify(nn.Sequential(body, head)).backward()
        first.step()


@broken("replicas drift apart", "replicas drift apart")
def replicas_whose_biases_are_not_averaged():
    a = net()
    b = copy.deepcopy(a)
    oa, ob = SGD(a.parameters(), 0.1), SGD(b.parameters(), 0.1)
    yield [a, b], [oa, ob]
    for _ in range(STEPS):
        oa.zero_grad()
        ob.zero_grad()
        for m in (a, b):
            classify(m).backward()
        for p, q in zip(a.parameters(), b.parameters(), strict=True):
            if p.dim() > 1:
                mean = (p.grad + q.grad) / 2
                p.grad, q.grad = mean.clone(), mean.clone()
        oa.step()
        ob.step()


class Normed(torch.optim.Optimizer):
    """A rule of its own: along the normed gradient."""

    def __init__(self, params, lr, sign=-1):
        super().__init__(params, {"lr": lr, "sign": sign})

    @torch.no_grad()
    def step(self, closure=None):
        for group in self.param_groups:
            for p in group["params"]:
                p.add_(p.grad / p.grad.norm(), alpha=group["sign"] * group["lr"])


def own_rule(sign):
    model = net()
    o = Normed(model.parameters(), 1e-2, sign)
    yield model, o
    for _ in range(STEPS):
        o.zero_grad()
        classify(model).backward()
        o.step()


@right
def rule_of_its_own():
    yield from own_rule(-1)


@broken("moves uphill", "moves uphill")
def rule_of_its_own_climbs():
    yield from own_rule(1)


# -- numbers


def masked(kind):
    model = nn.Linear(6, 6, bias=False)
    o = SGD(model.parameters(), 0.01)
    yield model, o
    for i in range(STEPS):
        x, _ = batch()
        if i == 2:
            x[0] = 0
        size = model(x).square().sum(1)
        root = torch.where(size > 0, size.sqrt(), torch.zeros(())) if kind == "root" else size.log()
        o.zero_grad()
        root.mean().backward()
        o.step()


@broken("made in the backward of sqrt() at watched_more.py", "not finite")
def masked_root():
    yield from masked("root")


@broken("the output of log() at watched_more.py", "not finite")
def logarithm_of_zero():
    yield from masked("log")


@right
def mask_of_minus_infinity():
    q, k, v = nn.Linear(6, 8), nn.Linear(6, 8), nn.Linear(6, 3)
    o = Adam([*q.parameters(), *k.parameters(), *v.parameters()], 1e-2)
    yield [q, k, v], o
    for _ in range(STEPS):
        x = torch.randn(2, 5, 6)
        mask = torch.tril(torch.ones(5, 5)).log()
        a = (q(x) @ k(x).transpose(1, 2) / math.sqrt(8) + mask).softmax(-1)
        o.zero_grad()
        (a @ v(x)).square().mean().backward()
        o.step()


@noted("gradients vanish on their way", "gradients vanish on their way")
def many_sigmoids():
    layers = [part for _ in range(12) for part in (nn.Linear(8, 8), nn.Sigmoid())]
    model = nn.Sequential(*layers, nn.Linear(8, 1))
    o = SGD(model.parameters(), 0.1)
    yield model, o
    for _ in range(STEPS):
        o.zero_grad()
        model(torch.randn(8, 8)).square().mean().backward()
        o.step()


@noted("times what it was in the first 8 steps")
def saturated_gate():
    gate, model = nn.Linear(6, 3), net()
    o = SGD([*gate.parameters(), *model.parameters()], 0.1)
    yield [gate, model], o
    for i in range(20):
        if i == 10:
            with torch.no_grad():
                gate.bias.fill_(40.0)
        x, y = batch()
        o.zero_grad()
        F.cross_entropy(model(x) * gate(x).sigmoid(), y).backward()
        o.step()


# -- gradients put together


@right
def gradient_surgery_by_backward():
    model = net(6, 2)
    o = Adam(model.parameters(), 1e-2)
    yield model, o
    for _ in range(STEPS):
        y, parts = model(torch.randn(8, 6)), []
        for k in range(2):
            o.zero_grad()
            (y[:, k] - k).square().mean().backward(retain_graph=k == 0)
            parts.append([p.grad.clone() for p in model.parameters()])
        for p, a, b in zip(model.parameters(), *parts, strict=True):
            d = (a * b).sum()
            p.grad = a + b - (d / b.norm() ** 2 * b if d < 0 else 0)
        o.step()


@right
def weighted_sum_of_tasks_by_hand():
    model = net(6, 2)
    o = SGD(model.parameters(), 0.1)
    yield model, o
    for _ in range(STEPS):
        y, parts = model(torch.randn(8, 6)), []
        for k in range(2):
            o.zero_grad()
            (y[:, k] - k).square().mean().backward(retain_graph=k == 0)
            parts.append([p.grad.clone() for p in model.parameters()])
        for p, a, b in zip(model.parameters(), *parts, strict=True):
            p.grad = 0.3 * a + 0.7 * b
        o.step()


@right
def private_micro_batches():
    model = net()
    o = SGD(model.parameters(), 0.1)
    yield model, o
    for _ in range(6):
        (x, y), sums = batch(), [torch.zeros_like(p) for p in model.parameters()]
        for row, target in zip(x.split(1), y.split(1), strict=True):
            model.zero_grad()
            F.cross_entropy(model(row), target).backward()
            clip_grad_norm_(model.parameters(), 1.0)
            for s, p in zip(sums, model.parameters(), strict=True):
                s += p.grad
        for s, p in zip(sums, model.parameters(), strict=True):
            p.grad = (s + 0.1 * torch.randn_like(s)) / len(x)
        o.step()


@right
def delayed_policy_and_two_critics():
    pi, q1, q2 = net(4, 2), net(6, 1), net(6, 1)
    aims = [copy.deepcopy(m).requires_grad_(False) for m in (pi, q1, q2)]
    op = Adam(pi.parameters(), 1e-3)
    oq = Adam([*q1.parameters(), *q2.parameters()], 1e-3)
    yield [pi, q1, q2], [op, oq]
    for i in range(STEPS):
        s, a, r, then = (torch.randn(8, n) for n in (4, 2, 1, 4))
        with torch.no_grad():
            z = torch.cat([then, aims[0](then).clamp(-1, 1)], 1)
            y = r + 0.9 * torch.min(aims[1](z), aims[2](z))
        z = torch.cat([s, a], 1)
        oq.zero_grad()
        (F.mse_loss(q1(z), y) + F.mse_loss(q2(z), y)).backward()
        oq.step()
        if i % 2:
            op.zero_grad()
            (-q1(torch.cat([s, pi(s)], 1)).mean()).backward()
            op.step()
            with torch.no_grad():
                for m, t in zip((pi, q1, q2), aims, strict=True):
                    for p, w in zip(m.parameters(), t.parameters(), strict=True):
                        w.lerp_(p, 0.01)


# -- copies that hand their gradients over


def copies(hand_over):
    """A copy of the model takes two steps of its own and gives the model its last gradient."""
    model = net()
    o = Adam(model.parameters(), 1e-3)
    yield model, o
    for _ in range(STEPS):
        o.zero_grad()
        for _ in range(2):
            mine = copy.deepcopy(model)
            inner = SGD(mine.parameters(), 0.1)
            for _ in range(2):
                inner.zero_grad()
                classify(mine).backward()
                inner.step()
            mine.zero_grad()
            classify(mine).backward()
            for p, q in zip(model.parameters(), mine.parameters(), strict=True):
                if hand_over:
                    p.grad = q.grad / 2 if p.grad is None else p.grad + q.grad / 2
        o.step()


@right
def copies_hand_their_gradients_over():
    yield from copies(True)


@broken(audit="never get a gradient in")
def copies_keep_their_gradients():
    yield from copies(False)


@right
def workers_of_a_shared_model():
    """Each starts its round from the model, and no optimizer ever steps it."""
    shared = net()
    each = [copy.deepcopy(shared) for _ in range(2)]
    o = Adam(shared.parameters(), 1e-3)
    yield [shared, *each], o
    for _ in range(STEPS):
        for mine in each:
            mine.load_state_dict(shared.state_dict())
            o.zero_grad()
            mine.zero_grad()
            classify(mine).backward()
            for p, q in zip(mine.parameters(), shared.parameters(), strict=True):
                q._grad = p.grad
            o.step()


# -- layers that learn their width from the first batch


def lazy(clear):
    """The optimizer is built before the parameters are; one layer is never used at all."""
    model = nn.ModuleDict({"a": nn.LazyLinear(8), "b": nn.LazyBatchNorm1d(), "c": nn.LazyLinear(3)})
    model["idle"] = nn.LazyLinear(2)
    o = SGD(model.parameters(), 0.05, momentum=0.9)
    yield model, o
    for _ in range(STEPS):
        if clear:
            o.zero_grad()
        x, y = batch()
        F.cross_entropy(model["c"](model["b"](model["a"](x)).tanh()), y).backward()
        o.step()


@right
def lazy_layers():
    yield from lazy(True)


@broken("gradients survive a step", "zero_grad() is missing")
def lazy_layers_are_never_cleared():
    yield from lazy(False)


# -- a model that takes the place of the one that the optimizer was built for


def folds(rebuilt):
    """A new model for each fold, and a new optimizer for it, or not."""
    models = [net() for _ in range(3)]
    o = Adam(models[0].parameters(), 1e-3)
    yield models, o
    for k, model in enumerate(models):
        if rebuilt and k:
            o = Adam(model.parameters(), 1e-3)
        for _ in range(4):
            o.zero_grad()
            model.zero_grad()
            classify(model).backward()
            o.step()


@right
def folds_with_optimizers_of_their_own():
    yield from folds(True)


@broken("go to others of the same shapes, models[1].0.weight")
def folds_with_one_optimizer():
    yield from folds(False)


def loaded(before):
    """A model comes out of a file, before the optimizer is built or after it."""
    model = old = net()
    if before:
        model = copy.deepcopy(old)
    o = Adam(model.parameters(), 1e-3)
    if not before:
        model = copy.deepcopy(old)
        del old
    yield [model], o
    for _ in range(STEPS):
        o.zero_grad()
        model.zero_grad()
        classify(model).backward()
        o.step()


@right
def loaded_before_the_optimizer():
    yield from loaded(True)


@broken(audit="the model or a layer was replaced")
def loaded_after_the_optimizer():
    yield from loaded(False)


# -- a tensor that is trained by nobody


class Gained(nn.Module):
    """A gain that is a plain tensor, or a parameter."""

    def __init__(self, parameter):
        super().__init__()
        self.body = net()
        gain = torch.ones(3)
        self.gain = nn.Parameter(gain) if parameter else gain.requires_grad_()

    def forward(self, x):
        return self.gain * self.body(x)


def gained(parameter):
    model = Gained(parameter)
    o = Adam(model.parameters(), 1e-3)
    yield model, o
    for _ in range(STEPS):
        o.zero_grad()
        classify(model).backward()
        o.step()


@right
def gain_is_a_parameter():
    yield from gained(True)


@right
def gain_is_a_plain_tensor():
    yield from gained(False)


@right
def slope_of_the_output_at_the_inputs():
    """Fixed inputs that ask for a gradient, as equations want them; the backward leaves one there too."""
    model = nn.Sequential(nn.Linear(1, 8), nn.Tanh(), nn.Linear(8, 1))
    o = Adam(model.parameters(), 1e-3)
    yield model, o
    x = torch.linspace(0, 1, 16)[:, None].requires_grad_()
    for _ in range(STEPS):
        u = model(x)
        (du,) = torch.autograd.grad(u.sum(), x, create_graph=True)
        o.zero_grad()
        (du + u).square().mean().backward()
        o.step()
