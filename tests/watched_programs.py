"""Training programs as people write them: broken ones, and right ones that look like them.

Each is a generator: it builds, yields `models, optimizers`, and trains when it is resumed. Nothing here
comes from the catalog.
"""

import copy
import itertools

import torch
from torch import nn
from torch.autograd import Function
from torch.nn import functional as F
from torch.nn.utils import clip_grad_norm_
from torch.utils.checkpoint import checkpoint

STEPS = 6
SGD, Adam, AdamW = torch.optim.SGD, torch.optim.Adam, torch.optim.AdamW
RIGHT, BROKEN = {}, {}


def right(function):
    RIGHT[function.__name__] = function
    return function


def broken(*words):
    """The finding must say these words."""

    def mark(function):
        BROKEN[function.__name__] = (function, words)
        return function

    return mark


def net(n_in=8, n_out=3, width=16):
    return nn.Sequential(nn.Linear(n_in, width), nn.Tanh(), nn.Linear(width, n_out))


def batches(n=STEPS, rows=12, classes=3):
    for _ in range(n):
        yield torch.randn(rows, 8), torch.randint(classes, (rows,))


# -- zero_grad and step


def plain(optimizer=SGD, **rule):
    def program():
        model = net()
        o = optimizer(model.parameters(), lr=0.05, **rule)
        yield model, o
        for x, y in batches():
            o.zero_grad()
            F.cross_entropy(model(x), y).backward()
            o.step()

    return program


for _name, _rule in {
    "sgd": (SGD, {}),
    "momentum": (SGD, {"momentum": 0.9, "dampening": 0.1, "weight_decay": 0.01}),
    "nesterov": (SGD, {"momentum": 0.9, "nesterov": True}),
    "ascent": (SGD, {"maximize": True}),
    "adam": (Adam, {"weight_decay": 0.1}),
    "adamw": (AdamW, {"weight_decay": 0.1}),
    "amsgrad": (Adam, {"amsgrad": True}),
    "rmsprop": (torch.optim.RMSprop, {}),
    "single_tensor_adam": (Adam, {"foreach": False}),
    "fused_adamw": (AdamW, {"fused": True}),
}.items():
    RIGHT[f"plain_{_name}"] = plain(_rule[0], **_rule[1])


@right
def zero_at_the_end_in_place():
    model = net()
    o = SGD(model.parameters(), lr=0.05, momentum=0.9)
    yield model, o
    for x, y in batches():
        F.cross_entropy(model(x), y).backward()
        o.step()
        o.zero_grad(set_to_none=False)


@right
def zero_between_forward_and_backward():
    model = net()
    o = SGD(model.parameters(), lr=0.05)
    yield model, o
    for x, y in batches():
        loss = F.cross_entropy(model(x), y)
        model.zero_grad(set_to_none=False)
        loss.backward()
        o.step()


@broken("survive")
def zero_grad_missing():
    model = net()
    o = Adam(model.parameters())
    yield model, o
    for x, y in batches():
        F.cross_entropy(model(x), y).backward()
        o.step()


@broken("survive")
def zero_grad_of_the_wrong_module():
    model = net()
    o = SGD(model.parameters(), lr=0.05)
    yield model, o
    for x, y in batches():
        model[2].zero_grad()
        F.cross_entropy(model(x), y).backward()
        clip_grad_norm_(model.parameters(), 0.1)
        o.step()


@broken("survive")
def closure_without_zero_grad():
    model = net()
    o = torch.optim.LBFGS(model.parameters(), lr=0.1, max_iter=2)
    yield model, o
    for x, y in batches():

        def closure(x=x, y=y):
            loss = F.cross_entropy(model(x), y)
            loss.backward()
            return loss

        o.step(closure)


@right
def lbfgs():
    model = net()
    o = torch.optim.LBFGS(model.parameters(), lr=0.1, max_iter=3)
    yield model, o
    for x, y in batches():

        def closure(x=x, y=y):
            o.zero_grad()
            loss = F.cross_entropy(model(x), y)
            loss.backward()
            return loss

        o.step(closure)


@right
def sgd_with_a_closure_of_micro_batches():
    model = net()
    o = SGD(model.parameters(), lr=0.05)
    yield model, o
    for x, y in batches():

        def closure(x=x, y=y):
            o.zero_grad()
            for part, target in zip(x.chunk(3), y.chunk(3)):
                (F.cross_entropy(model(part), target) / 3).backward()

        o.step(closure)


@broken("cleared before")
def zero_grad_after_backward():
    model = net()
    o = SGD(model.parameters(), lr=0.05)
    yield model, o
    for x, y in batches():
        F.cross_entropy(model(x), y).backward()
        o.zero_grad()
        o.step()


@broken("cleared before")
def zeroed_in_place_after_backward():
    model = net()
    o = AdamW(model.parameters())
    yield model, o
    for x, y in batches():
        F.cross_entropy(model(x), y).backward()
        for p in model.parameters():
            p.grad.data.zero_()
        o.step()


@broken("without fresh gradients")
def steps_in_between_backwards():
    model = net()
    o = SGD(model.parameters(), lr=0.05)
    yield model, o
    for n, (x, y) in enumerate(batches(8)):
        if n % 2 == 0:
            o.zero_grad()
            F.cross_entropy(model(x), y).backward()
        o.step()


@broken("no gradient gets to any")
def loss_from_a_number():
    model = net()
    o = SGD(model.parameters(), lr=0.05)
    yield model, o
    for x, y in batches():
        o.zero_grad()
        loss = torch.tensor(F.cross_entropy(model(x), y).item(), requires_grad=True)
        loss.backward()
        o.step()


@broken("no gradient gets to any")
def logits_through_numpy():
    model = net()
    o = SGD(model.parameters(), lr=0.05)
    yield model, o
    for x, y in batches():
        o.zero_grad()
        logits = torch.from_numpy(model(x).detach().numpy()).requires_grad_()
        F.cross_entropy(logits, y).backward()
        o.step()


# -- accumulation


def accumulated(divide=True, zero_each=False, step_each=False, clip_each=None, lengths=(4, 4, 4)):
    def program():
        model = net()
        o = SGD(model.parameters(), lr=0.05)
        yield model, o
        for x, y in batches(rows=sum(lengths)):
            o.zero_grad()
            for part, target in zip(x.split(lengths), y.split(lengths)):
                if zero_each:
                    o.zero_grad()
                loss = F.cross_entropy(model(part), target)
                (loss / len(lengths) if divide else loss).backward()
                if clip_each:
                    clip_grad_norm_(model.parameters(), clip_each)
                if step_each:
                    o.step()
            if not step_each:
                o.step()

    return program


RIGHT["accumulation"] = accumulated()
RIGHT["accumulation_not_divided"] = accumulated(divide=False)
RIGHT["accumulation_unequal"] = accumulated(lengths=(8, 3, 1))
RIGHT["accumulation_with_a_loose_clip_each"] = accumulated(clip_each=1e3)
BROKEN["zeroed_at_each_micro_batch"] = (accumulated(zero_each=True), ("never spent",))
BROKEN["stepped_at_each_micro_batch"] = (accumulated(step_each=True), ("survive",))
BROKEN["clipped_at_each_micro_batch"] = (accumulated(clip_each=0.05), ("clipped after each",))


@right
def accumulation_across_iterations():
    model = net()
    o = Adam(model.parameters())
    yield model, o
    for n, (x, y) in enumerate(batches(11), 1):
        (F.cross_entropy(model(x), y) / 4).backward()
        if n % 4 == 0:
            o.step()
            o.zero_grad()


@broken("sent backward twice")
def running_total_of_losses():
    model = net()
    o = SGD(model.parameters(), lr=0.05)
    yield model, o
    for x, y in batches():
        o.zero_grad()
        total = 0
        for part, target in zip(x.chunk(3), y.chunk(3)):
            total = total + F.cross_entropy(model(part), target) / 3
            total.backward(retain_graph=True)
        o.step()


@right
def losses_summed_and_sent_once():
    model = net()
    o = SGD(model.parameters(), lr=0.05)
    yield model, o
    for x, y in batches():
        o.zero_grad()
        total = 0
        for part, target in zip(x.chunk(3), y.chunk(3)):
            total = total + F.cross_entropy(model(part), target) / 3
        total.backward()
        o.step()


@right
def two_losses_on_one_graph():
    model = net()
    o = SGD(model.parameters(), lr=0.05)
    yield model, o
    for x, y in batches():
        o.zero_grad()
        logits = model(x)
        F.cross_entropy(logits, y).backward(retain_graph=True)
        (0.01 * logits.square().mean()).backward()
        o.step()


@right
def opposed_players_on_one_loss():
    maker, judge = net(n_out=4), nn.Linear(4, 1)
    a, b = SGD(maker.parameters(), lr=0.05), SGD(judge.parameters(), lr=0.05)
    yield [maker, judge], [a, b]
    for x, _ in batches():
        a.zero_grad(), b.zero_grad()
        loss = judge(maker(x)).square().mean()
        loss.backward(inputs=list(maker.parameters()), retain_graph=True)
        (-loss).backward(inputs=list(judge.parameters()))
        a.step(), b.step()


@broken("never steps")
def condition_that_is_never_true():
    model = net()
    o = SGD(model.parameters(), lr=0.05)
    yield model, o
    for n, (x, y) in enumerate(batches(12)):
        o.zero_grad()
        F.cross_entropy(model(x), y).backward()
        if n % 4 == 5:
            o.step()


# -- clipping and scaling


@right
def clipped_before_the_step():
    model = net()
    o = SGD(model.parameters(), lr=0.05)
    yield model, o
    for x, y in batches():
        o.zero_grad()
        F.cross_entropy(model(x), y).backward()
        clip_grad_norm_(model.parameters(), 0.1)
        o.step()


@right
def norm_logged_after_the_step():
    model = net()
    o = SGD(model.parameters(), lr=0.05)
    yield model, o
    for x, y in batches():
        o.zero_grad()
        F.cross_entropy(model(x), y).backward()
        o.step()
        clip_grad_norm_(model.parameters(), float("inf"))


@broken("clipped after the step")
def clipped_after_the_step():
    model = net()
    o = SGD(model.parameters(), lr=0.05)
    yield model, o
    for x, y in batches():
        o.zero_grad()
        F.cross_entropy(model(x), y).backward()
        o.step()
        clip_grad_norm_(model.parameters(), 0.1)


@broken("clipped after the step")
def clamped_after_the_step():
    model = net()
    o = SGD(model.parameters(), lr=0.05)
    yield model, o
    for x, y in batches():
        o.zero_grad()
        F.cross_entropy(model(x), y).backward()
        o.step()
        torch.nn.utils.clip_grad_value_(model.parameters(), 1e-3)


@broken("by hand too")
def stepped_by_the_optimizer_and_by_hand():
    model = net()
    o = SGD(model.parameters(), lr=0.05)
    yield model, o
    for x, y in batches():
        o.zero_grad()
        F.cross_entropy(model(x), y).backward()
        o.step()
        for p in model.parameters():
            p.data -= 0.05 * p.grad


@right
def two_optimizers_on_the_same_parameters():
    model = net()
    one, two = SGD(model.parameters(), lr=0.05), SGD(model.parameters(), lr=0.01)
    yield model, [one, two]
    for x, y in batches():
        one.zero_grad()
        F.cross_entropy(model(x), y).backward()
        one.step(), two.step()


@right
def decay_by_hand():
    model = net()
    o = SGD(model.parameters(), lr=0.05)
    yield model, o
    for x, y in batches():
        o.zero_grad()
        F.cross_entropy(model(x), y).backward()
        o.step()
        for p in model.parameters():
            p.data.mul_(0.999)


def scaled(order, scale=1024.0, micros=1):
    """order: letters of c(lip), u(nscale), s(tep)."""

    def program():
        model = net()
        o = SGD(model.parameters(), lr=0.05)
        yield model, o
        for x, y in batches():
            o.zero_grad()
            for part, target in zip(x.chunk(micros), y.chunk(micros)):
                (F.cross_entropy(model(part), target) / micros * scale).backward()
            for letter in order:
                if letter == "c":
                    clip_grad_norm_(model.parameters(), 0.1)
                elif letter == "u":
                    for p in model.parameters():
                        p.grad.div_(scale)
                else:
                    o.step()

    return program


RIGHT["unscaled_then_clipped"] = scaled("ucs")
RIGHT["unscaled_then_clipped_micro"] = scaled("ucs", micros=3)
BROKEN["clipped_then_unscaled"] = (scaled("cus"), ("loss scale",))
BROKEN["clipped_then_unscaled_micro"] = (scaled("cus", micros=3), ("loss scale",))


@broken("loss scale")
def scaler_clips_too_early():
    model = net()
    o = SGD(model.parameters(), lr=0.05)
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**10)
    yield model, o
    for x, y in batches():
        o.zero_grad()
        scaler.scale(F.cross_entropy(model(x), y)).backward()
        clip_grad_norm_(model.parameters(), 0.1)
        scaler.step(o)
        scaler.update()


@right
def scaler_that_skips():
    model = net()
    o = SGD(model.parameters(), lr=0.05)
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**10, growth_interval=2)
    yield model, o
    for n, (x, y) in enumerate(batches(10)):
        o.zero_grad()
        loss = F.cross_entropy(model(x), y) * (float("inf") if n == 3 else 1.0)
        scaler.scale(loss).backward()
        scaler.unscale_(o)
        clip_grad_norm_(model.parameters(), 0.1)
        scaler.step(o)
        scaler.update()


@right
def autocast_in_bfloat16():
    model = net()
    o = AdamW(model.parameters())
    yield model, o
    for x, y in batches():
        o.zero_grad()
        with torch.autocast("cpu", dtype=torch.bfloat16):
            loss = F.cross_entropy(model(x), y)
        loss.backward()
        clip_grad_norm_(model.parameters(), 0.1)
        o.step()


@right
def clamped_in_place():
    model = net()
    o = SGD(model.parameters(), lr=0.05)
    yield model, o
    for x, y in batches():
        o.zero_grad()
        F.cross_entropy(model(x), y).backward()
        for p in model.parameters():
            p.grad.data.clamp_(-0.01, 0.01)
        o.step()


# -- players


def gan(detach=True, zero="before", order="judge first"):
    def program():
        maker, judge = net(4, 8), net(8, 1)
        a, b = Adam(maker.parameters(), lr=1e-3), Adam(judge.parameters(), lr=1e-3)
        yield [maker, judge], [a, b]
        for x, _ in batches():
            made = maker(torch.randn(len(x), 4))
            if zero == "before":
                b.zero_grad()
            elif zero == "both":
                a.zero_grad(), b.zero_grad()
            F.softplus(-judge(x)).mean().backward()
            F.softplus(judge(made.detach() if detach else made)).mean().backward(
                retain_graph=not detach
            )
            b.step()
            if zero == "after":
                b.zero_grad()
            if zero != "both":
                a.zero_grad()
            F.softplus(-judge(maker(torch.randn(len(x), 4)))).mean().backward()
            a.step()

    return program


RIGHT["gan"] = gan()
RIGHT["gan_both_zeroed"] = gan(zero="both")
RIGHT["gan_not_detached_but_zeroed"] = gan(detach=False)
BROKEN["gan_judge_zeroed_too_early"] = (gan(zero="after"), ("another player",))
BROKEN["gan_not_detached"] = (gan(detach=False, zero="both"), ("another player",))


@right
def encoder_and_decoder_after_one_backward():
    one, two = nn.Linear(8, 4), nn.Linear(4, 8)
    a, b = SGD(one.parameters(), lr=0.05), Adam(two.parameters())
    yield [one, two], [a, b]
    for x, _ in batches():
        a.zero_grad(), b.zero_grad()
        F.mse_loss(two(one(x)), x).backward()
        a.step(), b.step()


@right
def one_player_steps_every_second_time():
    one, two = nn.Linear(8, 4), nn.Linear(4, 8)
    a, b = SGD(one.parameters(), lr=0.05), SGD(two.parameters(), lr=0.05)
    yield [one, two], [a, b]
    for n, (x, _) in enumerate(batches(8), 1):
        F.mse_loss(two(one(x)), x).backward()
        a.step()
        a.zero_grad()
        if n % 2 == 0:
            b.step()
            b.zero_grad()


@right
def in_turn():
    model = nn.ModuleDict({"one": nn.Linear(8, 4), "two": nn.Linear(4, 3)})
    both = [SGD(m.parameters(), lr=0.05) for m in model.values()]
    yield model, both
    for n, (x, y) in enumerate(batches(8)):
        o = both[n % 2]
        o.zero_grad()
        F.cross_entropy(model["two"](model["one"](x).tanh()), y).backward()
        o.step()


@broken("another player")
def actor_loss_left_in_the_critic():
    actor, critic = net(8, 2), net(10, 1)
    a, c = Adam(actor.parameters()), Adam(critic.parameters())
    yield [actor, critic], [a, c]
    for x, _ in batches():
        a.zero_grad()
        c.zero_grad()
        (-critic(torch.cat([x, actor(x)], -1))).mean().backward()
        a.step()
        action = torch.randn(len(x), 2)
        F.mse_loss(critic(torch.cat([x, action], -1)), torch.randn(len(x), 1)).backward()
        c.step()


@right
def actor_and_critic():
    actor, critic = net(8, 2), net(10, 1)
    a, c = Adam(actor.parameters()), Adam(critic.parameters())
    yield [actor, critic], [a, c]
    for x, _ in batches():
        c.zero_grad()
        action = torch.randn(len(x), 2)
        F.mse_loss(critic(torch.cat([x, action], -1)), torch.randn(len(x), 1)).backward()
        c.step()
        a.zero_grad()
        (-critic(torch.cat([x, actor(x)], -1))).mean().backward()
        a.step()


# -- methods that look wrong


@right
def sharpness_aware():
    model = net()
    o = SGD(model.parameters(), lr=0.05)
    yield model, o
    for x, y in batches():
        o.zero_grad()
        F.cross_entropy(model(x), y).backward()
        old = [p.detach().clone() for p in model.parameters()]
        for p in model.parameters():
            p.data.add_(0.05 * p.grad / p.grad.norm())
        o.zero_grad()
        F.cross_entropy(model(x), y).backward()
        for p, q in zip(model.parameters(), old):
            p.data.copy_(q)
        o.step()


class SAM(torch.optim.Optimizer):
    """The common implementation: an optimizer around an optimizer."""

    def __init__(self, params, base, rho=0.05, **rule):
        super().__init__(params, {"rho": rho, **rule})
        self.base = base(self.param_groups, **rule)
        self.param_groups = self.base.param_groups

    @torch.no_grad()
    def first_step(self):
        for p in self.param_groups[0]["params"]:
            self.state[p]["old"] = p.data.clone()
            p.add_(0.05 * p.grad / (p.grad.norm() + 1e-12))
        self.zero_grad()

    @torch.no_grad()
    def step(self, closure=None):
        closure = torch.enable_grad()(closure)
        self.first_step()
        closure()
        for p in self.param_groups[0]["params"]:
            p.data = self.state[p]["old"]
        self.base.step()


@right
def optimizer_around_an_optimizer():
    model = net()
    o = SAM(model.parameters(), SGD, lr=0.05)
    yield model, o
    for x, y in batches():

        def closure(x=x, y=y):
            loss = F.cross_entropy(model(x), y)
            loss.backward()
            return loss

        closure()
        o.step(closure)
        o.zero_grad()


@right
def projected_conflicts():
    """Gradients of two tasks are read, cleared, mixed and written back."""
    model = net()
    o = SGD(model.parameters(), lr=0.05)
    yield model, o
    for x, y in batches():
        parts = []
        for target in (y, (y + 1) % 3):
            o.zero_grad()
            F.cross_entropy(model(x), target).backward()
            parts.append([p.grad.clone() for p in model.parameters()])
        o.zero_grad()
        for p, g, h in zip(model.parameters(), *parts):
            p.grad = g + h - 0.1 * (g * h).sum() * g
        o.step()


@right
def momentum_by_hand_in_grad():
    model = net()
    o = SGD(model.parameters(), lr=0.05)
    yield model, o
    for x, y in batches():
        for p in model.parameters():
            if p.grad is not None:
                p.grad.mul_(0.9)
        F.cross_entropy(model(x), y).backward()
        o.step()


@right
def everything_through_data():
    """As it was written before 0.4: zeroed, clipped and unscaled without a version."""
    model = net()
    o = SGD(model.parameters(), lr=0.05, momentum=0.9)
    yield model, o
    for x, y in batches():
        (8 * F.cross_entropy(model(x), y)).backward()
        for p in model.parameters():
            p.grad.data.div_(8)
            p.grad.data.clamp_(-0.05, 0.05)
        o.step()
        for p in model.parameters():
            p.grad.data.zero_()


@right
def noisy_weights_between_micro_batches():
    """Gradients at several perturbed points, summed; the weights are put back before the step."""
    model = net()
    o = SGD(model.parameters(), lr=0.05)
    yield model, o
    for x, y in batches():
        o.zero_grad()
        for _ in range(3):
            noise = [0.01 * torch.randn_like(p) for p in model.parameters()]
            for p, e in zip(model.parameters(), noise):
                p.data.add_(e)
            (F.cross_entropy(model(x), y) / 3).backward()
            for p, e in zip(model.parameters(), noise):
                p.data.sub_(e)
        o.step()


@right
def clipped_sample_by_sample():
    model = net()
    o = SGD(model.parameters(), lr=0.05)
    yield model, o
    for x, y in batches(rows=4):
        total = [torch.zeros_like(p) for p in model.parameters()]
        for n in range(len(x)):
            model.zero_grad()
            F.cross_entropy(model(x[n : n + 1]), y[n : n + 1]).backward()
            clip_grad_norm_(model.parameters(), 0.1)
            for s, p in zip(total, model.parameters()):
                s += p.grad
        for s, p in zip(total, model.parameters()):
            p.grad = s / len(x)
        o.step()


@right
def master_weights_beside_bfloat16():
    model = net().to(torch.bfloat16)
    master = [p.detach().float().clone().requires_grad_() for p in model.parameters()]
    o = Adam(master, lr=1e-3)
    yield model, o
    for x, y in batches():
        (128 * F.cross_entropy(model(x.bfloat16()).float(), y)).backward()
        for p, q in zip(model.parameters(), master):
            q.grad, p.grad = p.grad.float() / 128, None
        clip_grad_norm_(master, 1.0)
        o.step()
        for p, q in zip(model.parameters(), master):
            p.data.copy_(q)


@right
def adversarial_examples():
    model = net()
    o = SGD(model.parameters(), lr=0.05)
    yield model, o
    for x, y in batches():
        x.requires_grad_()
        F.cross_entropy(model(x), y).backward()
        worse = (x + 0.1 * x.grad.sign()).detach()
        o.zero_grad()
        F.cross_entropy(model(worse), y).backward()
        o.step()


@right
def gradients_by_autograd_grad():
    model = net()
    o = SGD(model.parameters(), lr=0.05)
    yield model, o
    for x, y in batches():
        loss = F.cross_entropy(model(x), y)
        for p, g in zip(model.parameters(), torch.autograd.grad(loss, list(model.parameters()))):
            p.grad = g
        clip_grad_norm_(model.parameters(), 0.1)
        o.step()


@right
def gradient_penalty():
    model = net(8, 1)
    o = Adam(model.parameters())
    yield model, o
    for x, _ in batches():
        x.requires_grad_()
        o.zero_grad()
        out = model(x)
        (g,) = torch.autograd.grad(out.sum(), x, create_graph=True)
        (out.mean() + (g.norm(dim=1) - 1).square().mean()).backward()
        o.step()


@right
def step_inside_the_backward():
    model = net()
    each = {p: SGD([p], lr=0.05) for p in model.parameters()}

    def update(p):
        each[p].step()
        each[p].zero_grad()

    for p in model.parameters():
        p.register_post_accumulate_grad_hook(update)
    yield model, list(each.values())
    for x, y in batches():
        F.cross_entropy(model(x), y).backward()


@right
def hook_that_doubles():
    model = net()
    model[0].weight.register_hook(lambda g: 2 * g)
    o = SGD(model.parameters(), lr=0.05)
    yield model, o
    for x, y in batches():
        o.zero_grad()
        F.cross_entropy(model(x), y).backward()
        o.step()


# -- teachers, frozen and idle parts


@right
def byol():
    student = net(8, 4)
    teacher = copy.deepcopy(student)
    o = SGD(student.parameters(), lr=0.05)
    yield [student, teacher], o
    for x, _ in batches():
        with torch.no_grad():
            target = teacher(x + 0.1)
        o.zero_grad()
        F.mse_loss(student(x), target).backward()
        o.step()
        with torch.no_grad():
            for p, q in zip(teacher.parameters(), student.parameters()):
                p.lerp_(q, 0.1)


@right
def dqn():
    online = net(8, 4)
    target = copy.deepcopy(online)
    o = Adam(online.parameters())
    yield [online, target], o
    for n, (x, _) in enumerate(batches(9)):
        best = (torch.randn(len(x)) + 0.9 * target(x + 0.1).max(-1).values).detach()
        o.zero_grad()
        F.smooth_l1_loss(online(x)[:, 0], best).backward()
        for p in online.parameters():
            p.grad.data.clamp_(-1, 1)
        o.step()
        if n % 4 == 3:
            target.load_state_dict(online.state_dict())


@right
def frozen_body():
    model = net()
    for p in model[0].parameters():
        p.requires_grad_(False)
    o = AdamW(model.parameters())
    yield model, o
    for x, y in batches():
        o.zero_grad()
        F.cross_entropy(model(x), y).backward()
        o.step()


@right
def head_alone_in_the_optimizer():
    model = net()
    o = AdamW(model[2].parameters())
    yield model, o
    for x, y in batches():
        model.zero_grad()
        F.cross_entropy(model(x), y).backward()
        o.step()


@right
def unfrozen_after_three_steps():
    model = net()
    model[0].requires_grad_(False)
    o = SGD(model.parameters(), lr=0.05)
    yield model, o
    for n, (x, y) in enumerate(batches()):
        model[0].requires_grad_(n >= 3)
        o.zero_grad()
        F.cross_entropy(model(x), y).backward()
        o.step()


@right
def prompt_tuning():
    model = net()
    prompt = nn.Parameter(torch.zeros(8))
    o = Adam([prompt], lr=0.1)
    yield model, o
    for x, y in batches():
        o.zero_grad()
        F.cross_entropy(model(x + prompt), y).backward()
        o.step()


class TwoHeads(nn.Module):
    def __init__(self):
        super().__init__()
        self.body, self.one, self.two = nn.Linear(8, 16), nn.Linear(16, 3), nn.Linear(16, 3)

    def forward(self, x, both=False):
        h = self.body(x).tanh()
        return (self.one(h), self.two(h)) if both else (self.one(h), None)


@right
def head_under_a_flag():
    model = TwoHeads()
    o = AdamW(model.parameters())
    yield model, o
    for x, y in batches():
        o.zero_grad()
        F.cross_entropy(model(x)[0], y).backward()
        o.step()


@right
def second_output_unused():
    model = TwoHeads()
    o = AdamW(model.parameters())
    yield model, o
    for x, y in batches():
        o.zero_grad()
        loss = F.cross_entropy(model(x, both=True)[0], y)
        loss.backward()
        o.step()
        loss.item()


@right
def probe_on_detached_features():
    model = TwoHeads()
    o = AdamW(model.parameters())
    yield model, o
    for x, y in batches():
        h = model.body(x).tanh()
        o.zero_grad()
        loss = F.cross_entropy(model.one(h), y) + F.cross_entropy(model.two(h.detach()), y)
        loss.backward()
        o.step()
        loss.item()


@broken("reported")
def term_reported_and_not_trained():
    model = TwoHeads()
    o = AdamW(model.parameters())
    yield model, o
    for x, y in batches():
        a, b = model(x, both=True)
        first, second = F.cross_entropy(a, y), F.cross_entropy(b, y)
        loss = first + 0.5 * second
        o.zero_grad()
        first.backward()
        o.step()
        loss.item()


@broken("never")
def body_under_no_grad():
    model = net()
    o = AdamW(model.parameters())
    yield model, o
    for x, y in batches():
        o.zero_grad()
        with torch.no_grad():
            h = model[0](x)
        F.cross_entropy(model[2](h.tanh()), y).backward()
        o.step()


@broken("never")
def body_detached():
    model = nn.Sequential(nn.Linear(8, 16), nn.Linear(16, 3))
    o = AdamW(model.parameters())
    yield model, o
    for x, y in batches():
        o.zero_grad()
        F.cross_entropy(model[1](model[0](x).detach()), y).backward()
        o.step()


@broken("never")
def checkpoint_of_an_input_without_grad():
    model = net()
    o = SGD(model.parameters(), lr=0.05)
    yield model, o
    for x, y in batches():
        o.zero_grad()
        h = checkpoint(model[0], x, use_reentrant=True)
        F.cross_entropy(model[2](h.tanh()), y).backward()
        o.step()


@broken("no longer in the model")
def head_replaced_after_the_optimizer():
    model = net()
    o = AdamW(model.parameters())
    model[2] = nn.Linear(16, 3)
    yield model, o
    for x, y in batches():
        o.zero_grad()
        F.cross_entropy(model(x), y).backward()
        o.step()


@broken("no longer in the model")
def head_replaced_in_mid_run():
    model = net()
    o = AdamW(model.parameters())
    yield model, o
    for n, (x, y) in enumerate(batches(8)):
        if n == 4:
            model[2] = nn.Linear(16, 3)
        o.zero_grad()
        F.cross_entropy(model(x), y).backward()
        o.step()


@right
def head_replaced_with_its_optimizer():
    model = net()
    o = AdamW(model.parameters())
    yield model, o
    for n, (x, y) in enumerate(batches(8)):
        if n == 4:
            model[2] = nn.Linear(16, 3)
            o = AdamW(model.parameters())
        o.zero_grad()
        F.cross_entropy(model(x), y).backward()
        o.step()


@broken("no optimizer holds")
def layer_that_nobody_trains():
    model = nn.Sequential(nn.Linear(8, 64), nn.Tanh(), nn.Linear(64, 4), nn.Linear(4, 64))
    o = AdamW([*model[0].parameters(), *model[3].parameters()])
    yield model, o
    for x, y in batches():
        model.zero_grad()
        F.cross_entropy(model(x), y).backward()
        o.step()


# -- memory


@broken("kept alive")
def losses_in_a_list():
    model = net()
    o = SGD(model.parameters(), lr=0.05)
    history = []
    yield model, o
    for x, y in batches(8):
        o.zero_grad()
        loss = F.cross_entropy(model(x), y)
        loss.backward()
        o.step()
        history.append(loss)


@broken("kept alive")
def running_average_with_graph():
    model = net()
    o = SGD(model.parameters(), lr=0.05)
    average = 0.0
    yield model, o
    for x, y in batches(8):
        o.zero_grad()
        loss = F.cross_entropy(model(x), y)
        average = 0.9 * average + 0.1 * loss
        loss.backward()
        o.step()


@right
def numbers_in_a_list():
    model = net()
    o = SGD(model.parameters(), lr=0.05)
    history = []
    yield model, o
    for x, y in batches(10):
        o.zero_grad()
        loss = F.cross_entropy(model(x), y)
        loss.backward()
        o.step()
        history += [loss.item(), loss.detach()]


@right
def last_graph_kept():
    model = net()
    o = SGD(model.parameters(), lr=0.05)
    yield model, o
    for x, y in batches(10):
        o.zero_grad()
        loss = F.cross_entropy(model(x), y)
        loss.backward(retain_graph=True)
        o.step()


@right
def truncated_backpropagation_through_time():
    cell, head = nn.GRUCell(8, 16), nn.Linear(16, 3)
    o = Adam([*cell.parameters(), *head.parameters()])
    state = torch.zeros(12, 16)
    yield [cell, head], o
    for x, y in batches(10):
        state = cell(x, state.detach())
        o.zero_grad()
        F.cross_entropy(head(state), y).backward()
        o.step()


# -- saved tensors


@broken("saved tensor was changed")
def activation_clipped_through_data():
    model = net()
    o = SGD(model.parameters(), lr=0.05)
    yield model, o
    for x, y in batches():
        o.zero_grad()
        h = model[0](x).tanh()
        h.data.clamp_(-0.2, 0.2)
        F.cross_entropy(model[2](h), y).backward()
        o.step()


@broken("saved tensor was changed")
def input_normalised_in_numpy():
    model = net()
    o = SGD(model.parameters(), lr=0.05)
    yield model, o
    for x, y in batches():
        o.zero_grad()
        loss = F.cross_entropy(model(x), y)
        array = x.numpy()
        array /= 2
        loss.backward()
        o.step()


@right
def batch_norm_and_dropout():
    model = nn.Sequential(
        nn.Linear(8, 16),
        nn.BatchNorm1d(16),
        nn.ReLU(inplace=True),
        nn.Dropout(0.3),
        nn.Linear(16, 3),
    )
    o = SGD(model.parameters(), lr=0.05)
    yield model, o
    for x, y in batches():
        o.zero_grad()
        (F.cross_entropy(model(x), y) + F.cross_entropy(model(x + 0.1), y)).backward()
        o.step()


@right
def checkpointed():
    model = net()
    o = SGD(model.parameters(), lr=0.05)
    yield model, o
    for x, y in batches():
        o.zero_grad()
        h = checkpoint(lambda t: torch.tanh(model[0](t)).sin(), x, use_reentrant=False)
        F.cross_entropy(model[2](h), y).backward()
        o.step()


@right
def checkpointed_in_the_old_way():
    model = net()
    o = SGD(model.parameters(), lr=0.05)
    yield model, o
    for x, y in batches():
        o.zero_grad()
        h = checkpoint(model[:2], x.requires_grad_(), use_reentrant=True)
        F.cross_entropy(model[2](h), y).backward()
        o.step()


class Scratch(Function):
    """Keeps a tensor on ctx and saves another; nobody touches them."""

    @staticmethod
    def forward(ctx, x):
        ctx.twice = 2 * x
        ctx.save_for_backward(x)
        return x.square()

    @staticmethod
    def backward(ctx, g):
        return ctx.twice * g


@right
def custom_function():
    model = net()
    o = SGD(model.parameters(), lr=0.05)
    yield model, o
    for x, y in batches():
        o.zero_grad()
        F.cross_entropy(model[2](Scratch.apply(model[0](x))), y).backward()
        o.step()


# -- numbers


@broken("NaN")
def root_of_zero():
    model = net()
    o = SGD(model.parameters(), lr=0.05)
    yield model, o
    for n, (x, y) in enumerate(batches(8)):
        o.zero_grad()
        h = model[0](x)
        extra = (h * (0.0 if n >= 5 else 1.0)).square().sum(-1).sqrt().mean()
        (F.cross_entropy(model[2](h.tanh()), y) + 0.1 * extra).backward()
        o.step()


@right
def non_finite_batches_skipped():
    model = net()
    o = SGD(model.parameters(), lr=0.05)
    yield model, o
    for n, (x, y) in enumerate(batches(8)):
        o.zero_grad()
        (F.cross_entropy(model(x), y) / (0.0 if n == 5 else 1.0)).backward()
        if all(p.grad.isfinite().all() for p in model.parameters()):
            o.step()


@right
def hinge_that_is_satisfied():
    model = net(8, 1)
    o = SGD(model.parameters(), lr=0.5)
    yield model, o
    for x, _ in batches(30):
        o.zero_grad()
        F.relu(1 - model(x) * 1.0).mean().backward()
        o.step()


@right
def converges_to_nothing():
    layer = nn.Linear(2, 1, dtype=torch.float64)
    o = SGD(layer.parameters(), lr=0.3)
    yield layer, o
    x = torch.eye(2, dtype=torch.float64)
    for _ in range(80):
        o.zero_grad()
        layer(x).square().mean().backward()
        o.step()


@broken("explodes")
def rate_far_too_high():
    layer = nn.Linear(4, 1)
    o = SGD(layer.parameters(), lr=0.001)
    yield layer, o
    for n in range(16):
        o.param_groups[0]["lr"] = 0.001 if n < 10 else 1e6
        o.zero_grad()
        layer(torch.randn(8, 4)).square().mean().backward()
        o.step()


class Climber(torch.optim.Optimizer):
    """p <- p + lr g, where a minus belongs."""

    def __init__(self, params, lr):
        super().__init__(params, {"lr": lr})

    @torch.no_grad()
    def step(self):
        for group in self.param_groups:
            for p in group["params"]:
                p.add_(p.grad, alpha=group["lr"])


@broken("uphill")
def sign_of_an_own_optimizer():
    model = net()
    o = Climber(model.parameters(), lr=0.05)
    yield model, o
    for x, y in batches():
        o.zero_grad()
        F.cross_entropy(model(x), y).backward()
        o.step()


class Centred(SGD):
    """Gradient centralisation: the mean of each column is taken out, in place, as often seen."""

    @torch.no_grad()
    def step(self, closure=None):
        for p in self.param_groups[0]["params"]:
            if p.grad.dim() > 1:
                p.grad.sub_(p.grad.mean(1, keepdim=True))
        return super().step(closure)


@right
def gradient_centralisation():
    model = net()
    o = Centred(model.parameters(), lr=0.05, momentum=0.9)
    yield model, o
    for x, y in batches():
        o.zero_grad()
        F.cross_entropy(model(x), y).backward()
        o.step()


@right
def max_norm_in_a_post_hook():
    model = net()
    o = SGD(model.parameters(), lr=0.5)

    @torch.no_grad()
    def project(*_):
        model[0].weight.mul_(torch.clamp(1 / model[0].weight.norm(), max=1.0))

    o.register_step_post_hook(project)
    o.register_step_pre_hook(lambda *_: clip_grad_norm_(model.parameters(), 0.1) and None)
    yield model, o
    for x, y in batches():
        o.zero_grad()
        F.cross_entropy(model(x), y).backward()
        o.step()


# -- replicas, ties


def replicas(average=True, leave_out=None, clip=None):
    def program():
        one = net()
        two = copy.deepcopy(one)
        a, b = SGD(one.parameters(), lr=0.05), SGD(two.parameters(), lr=0.05)
        yield [one, two], [a, b]
        for x, y in batches():
            a.zero_grad(), b.zero_grad()
            for model, part, target in zip((one, two), x.chunk(2), y.chunk(2)):
                F.cross_entropy(model(part), target).backward()
            for (name, p), q in zip(one.named_parameters(), two.parameters()):
                if average and name != leave_out:
                    mean = (p.grad + q.grad) / 2
                    p.grad, q.grad = mean, mean.clone()
            if clip:
                clip_grad_norm_(one.parameters(), clip)
            a.step(), b.step()

    return program


RIGHT["replicas"] = replicas()
RIGHT["ensemble_from_one_start"] = replicas(average=False)
BROKEN["replicas_without_one_bias"] = (replicas(leave_out="0.bias"), ("drift apart",))
BROKEN["one_replica_clips"] = (replicas(clip=0.01), ("drift apart",))


@right
def layers_copied_from_one():
    layer = nn.Linear(8, 8)
    model = nn.Sequential(*(copy.deepcopy(layer) for _ in range(3)), nn.Linear(8, 3))
    o = SGD(model.parameters(), lr=0.05)
    yield model, o
    for x, y in batches():
        o.zero_grad()
        F.cross_entropy(model(x), y).backward()
        o.step()


@right
def tied_embedding():
    table, head = nn.Embedding(10, 8), nn.Linear(8, 10, bias=False)
    head.weight = table.weight
    model = nn.ModuleList([table, head])
    o = AdamW(model.parameters())
    yield model, o
    for _ in range(STEPS):
        tokens = torch.randint(10, (12,))
        o.zero_grad()
        F.cross_entropy(head(table(tokens).tanh()), tokens.roll(1)).backward()
        clip_grad_norm_(model.parameters(), 0.1)
        o.step()


@right
def sparse_embedding():
    model = nn.Sequential(nn.Embedding(10, 8, sparse=True), nn.Linear(8, 3))
    a = torch.optim.SparseAdam(model[0].parameters())
    b = SGD(model[1].parameters(), lr=0.1)
    yield model, [a, b]
    for _ in range(STEPS):
        a.zero_grad(), b.zero_grad()
        F.cross_entropy(model(torch.randint(10, (12,))), torch.randint(3, (12,))).backward()
        a.step(), b.step()


@right
def large_embedding_zeroed_in_place():
    model = nn.Sequential(nn.Embedding(5000, 8), nn.Linear(8, 3))
    o = Adam(model.parameters())
    yield model, o
    for _ in range(STEPS):
        o.zero_grad(set_to_none=False)
        F.cross_entropy(model(torch.randint(5000, (12,))), torch.randint(3, (12,))).backward()
        clip_grad_norm_(model.parameters(), 0.1)
        o.step()


# -- the rest of a loop


@right
def evaluation_and_schedules():
    model = net()
    ema = torch.optim.swa_utils.AveragedModel(model)
    o = SGD(model.parameters(), lr=0.05, momentum=0.9)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(o, T_max=6)
    yield model, o
    for x, y in batches(8):
        model.train()
        o.zero_grad(set_to_none=True)
        F.cross_entropy(model(x), y).backward()
        o.step()
        schedule.step()
        ema.update_parameters(model)
        model.eval()
        with torch.no_grad():
            F.cross_entropy(model(x), y).item()
        F.cross_entropy(model(x), y).item()  # a forward with a graph, for the log


@right
def exceptions_inside_the_loop():
    model = net()
    o = SGD(model.parameters(), lr=0.05)
    yield model, o
    for n, (x, y) in enumerate(batches(8)):
        try:
            o.zero_grad()
            loss = F.cross_entropy(model(x if n % 3 else x[:, :5]), y)
            loss.backward()
            o.step()
        except RuntimeError:
            continue


@right
def optimizer_stepped_before_the_first_epoch():
    model = net()
    o = SGD(model.parameters(), lr=0.05)
    yield model, o
    o.step()
    for x, y in batches():
        o.zero_grad()
        F.cross_entropy(model(x), y).backward()
        o.step()


@right
def weights_clipped_after_the_step():
    model = net(8, 1)
    o = torch.optim.RMSprop(model.parameters(), lr=0.01)
    yield model, o
    for x, _ in batches():
        o.zero_grad()
        model(x).mean().backward()
        o.step()
        for p in model.parameters():
            p.data.clamp_(-0.1, 0.1)


@right
def a_maml_step():
    model = nn.Linear(8, 1)
    o = Adam(model.parameters())
    yield model, o
    for x, _ in batches():
        o.zero_grad()
        total = 0
        for part in x.chunk(3):
            g = torch.autograd.grad(
                model(part).square().mean(), list(model.parameters()), create_graph=True
            )
            w, b = (p - 0.1 * d for p, d in zip(model.parameters(), g))
            total = total + F.linear(part, w, b).square().mean()
        total.backward()
        o.step()


@right
def reinforce_over_an_episode():
    policy = net(8, 2)
    o = Adam(policy.parameters())
    yield policy, o
    for _ in range(STEPS):
        logs = []
        for x in torch.randn(6, 8):
            choice = torch.distributions.Categorical(logits=policy(x))
            logs.append(choice.log_prob(choice.sample()))
        o.zero_grad()
        (-torch.stack(logs) * torch.randn(6)).mean().backward()
        o.step()


@right
def by_hand_without_an_optimizer():
    model = net()
    yield model, []
    for x, y in batches():
        F.cross_entropy(model(x), y).backward()
        with torch.no_grad():
            for p in model.parameters():
                p -= 0.1 * p.grad
        model.zero_grad()


@broken("survive")
def by_hand_never_zeroed():
    model = net()
    yield model, []
    for x, y in batches():
        F.cross_entropy(model(x), y).backward()
        with torch.no_grad():
            for p in model.parameters():
                p -= 0.1 * p.grad


@broken("no parameter ever changes")
def by_hand_into_new_tensors():
    model = net()
    yield model, []
    for x, y in batches():
        model.zero_grad()
        F.cross_entropy(model(x), y).backward()
        for p in model.parameters():
            p = p - 0.1 * p.grad


@right
def spectral_norm_and_weight_norm():
    model = nn.Sequential(
        nn.utils.parametrizations.spectral_norm(nn.Linear(8, 16)),
        nn.Tanh(),
        nn.utils.parametrizations.weight_norm(nn.Linear(16, 3)),
    )
    o = Adam(model.parameters())
    yield model, o
    for x, y in batches():
        o.zero_grad()
        F.cross_entropy(model(x), y).backward()
        o.step()


@broken("no longer in the model")
def weight_norm_after_the_optimizer():
    model = net()
    o = SGD(model.parameters(), lr=0.05)
    nn.utils.parametrizations.weight_norm(model[2])
    yield model, o
    for x, y in batches():
        o.zero_grad()
        F.cross_entropy(model(x), y).backward()
        o.step()


@right
def transformer():
    layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
    model = nn.Sequential(nn.TransformerEncoder(layer, 2), nn.Flatten(), nn.Linear(32, 3))
    o = AdamW(model.parameters())
    yield model, o
    for _ in range(STEPS):
        o.zero_grad()
        F.cross_entropy(model(torch.randn(6, 4, 8)), torch.randint(3, (6,))).backward()
        clip_grad_norm_(model.parameters(), 0.5)
        o.step()


def watched(program, seed=0, **options):
    """The log of a program, and the global random state as it was."""
    import bugzoo

    with torch.random.fork_rng():
        torch.manual_seed(seed)
        run = program()
        models, optimizers = next(run)
        with bugzoo.watch(models, optimizers, **options) as log:
            for _ in itertools.chain(run):
                pass
    return log
