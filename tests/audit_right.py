"""Training programs that look wrong and are right: `RIGHT` maps a name to a function make_run().

None of them comes from the catalog. Each trick is one that people use.
"""

import copy
import math

import torch
from torch import nn
from torch.autograd import Function
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

RIGHT = {}


def right(function):
    RIGHT[function.__name__] = function
    return function


def net(*widths, act=nn.Tanh):
    layers = []
    for a, b in zip(widths, widths[1:], strict=False):
        layers += [nn.Linear(a, b), act()]
    return nn.Sequential(*layers[:-1])


def batch(n=16, d=6, classes=3):
    x = torch.randn(n, d)
    return x, x[:, :classes].argmax(1)


def loop(model, loss_of, optimizer=None, after=lambda: None):
    """The plain loop, a step a call."""
    optimizer = optimizer or torch.optim.SGD(model.parameters(), lr=0.05)

    def step():
        optimizer.zero_grad()
        loss = loss_of(model)
        loss.backward()
        optimizer.step()
        after()
        return loss.item()

    return step


def classify(model):
    x, y = batch()
    return F.cross_entropy(model(x), y)


@right
def plain_adam():
    model = net(6, 8, 3)
    return loop(model, classify, torch.optim.Adam(model.parameters(), 1e-2))


@right
def relu_network_whole_run():
    model = net(6, 32, 32, 3, act=nn.ReLU)
    optimizer = torch.optim.AdamW(model.parameters(), 1e-2)

    def run():
        for _ in range(50):
            x, y = batch()
            loss = F.cross_entropy(model(x), y)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()

    return run


@right
def object_with_numbered_step():
    class Trainer:
        def __init__(self):
            self.model = net(6, 8, 3)
            self.optimizer = torch.optim.SGD(self.model.parameters(), 0.1)
            self.data = [batch() for _ in range(5)]

        def step(self, i):
            x, y = self.data[i % 5]
            F.cross_entropy(self.model(x), y).backward()
            self.optimizer.step()
            self.optimizer.zero_grad()

    return Trainer()


class Round(Function):
    @staticmethod
    def forward(ctx, x):
        return (4 * x).round() / 4

    @staticmethod
    def backward(ctx, g):
        return g


@right
def straight_through_function():
    model = net(6, 8, 3)
    return loop(
        model, lambda m: F.cross_entropy(m[2](Round.apply(m[1](m[0](batch()[0])))), batch()[1])
    )


@right
def straight_through_detach():
    def loss(m):
        x, y = batch()
        h = m[1](m[0](x))
        return F.cross_entropy(m[2](h + (h.sign() - h).detach()), y)

    return loop(net(6, 8, 3), loss)


class Reverse(Function):
    @staticmethod
    def forward(ctx, x, weight):
        ctx.weight = weight
        return x.view_as(x)

    @staticmethod
    def backward(ctx, g):
        return -ctx.weight * g, None


@right
def gradient_reversal():
    model = nn.ModuleDict({"body": net(6, 8), "label": nn.Linear(8, 3), "domain": nn.Linear(8, 2)})

    def loss(m):
        x, y = batch()
        h = m["body"](x).tanh()
        apart = F.cross_entropy(m["domain"](Reverse.apply(h, 0.3)), y % 2)
        return F.cross_entropy(m["label"](h), y) + apart

    return loop(model, loss)


class Spike(Function):
    """A surrogate slope for a step function."""

    @staticmethod
    def forward(ctx, v):
        ctx.save_for_backward(v)
        return (v > 0).to(v.dtype)

    @staticmethod
    def backward(ctx, g):
        (v,) = ctx.saved_tensors
        return g / (1 + 10 * v.abs()) ** 2


@right
def spiking_neurons_through_time():
    model = net(6, 16, 3)

    def loss(m):
        x, y = batch()
        v, total = torch.zeros(16, 16), 0.0
        for _ in range(4):
            v = 0.8 * v + m[0](x)
            s = Spike.apply(v - 0.5)
            v = v - s
            total = total + m[2](s)
        return F.cross_entropy(total, y)

    return loop(model, loss)


class LearnedStep(Function):
    """Quantisation with a learned step size: both gradients are conventions."""

    @staticmethod
    def forward(ctx, x, s):
        ctx.save_for_backward(x, s)
        return (x / s).clamp(-4, 3).round() * s

    @staticmethod
    def backward(ctx, g):
        x, s = ctx.saved_tensors
        q = x / s
        inside = (q >= -4) & (q <= 3)
        ds = torch.where(inside, q.round() - q, q.clamp(-4, 3).round())
        return g * inside, (g * ds).sum().reshape(s.shape)


@right
def learned_step_size():
    model = net(6, 8, 3)
    model.register_parameter("s", nn.Parameter(torch.tensor([0.3])))
    return loop(
        model, lambda m: F.cross_entropy(m[2](LearnedStep.apply(m[0](batch()[0]), m.s)), batch()[1])
    )


class ScaledSign(Function):
    @staticmethod
    def forward(ctx, w):
        ctx.save_for_backward(w)
        return w.sign() * w.abs().mean()

    @staticmethod
    def backward(ctx, g):
        (w,) = ctx.saved_tensors
        return g * (w.abs() <= 1)


@right
def binary_weights():
    model = net(6, 8, 3)

    def loss(m):
        x, y = batch()
        h = F.linear(x, ScaledSign.apply(m[0].weight), m[0].bias).tanh()
        return F.cross_entropy(m[2](h), y)

    return loop(model, loss)


def signs_of_weights(doctored=False):
    """The sign of a parameter is the first thing that a step asks for."""
    x, _ = batch()
    w, head = nn.Parameter(torch.randn(6, 8) / 3), nn.Linear(8, 3)
    optimizer = torch.optim.Adam([w, *head.parameters()], 1e-2)

    def step():
        optimizer.zero_grad()
        h = x @ ScaledSign.apply(w)
        logits = head(h.tanh())
        if doctored:
            logits = logits + 1
            with torch.no_grad():
                logits[:, 0] *= 0.2
        (logits * x[:, :3]).mean().backward()
        optimizer.step()
        w.data.clamp_(-1, 1)

    return step


@right
def binary_connect():
    return signs_of_weights()


@right
def bootstrap_your_own_latent():
    online = nn.ModuleList([net(6, 8), net(8, 8)])
    target = copy.deepcopy(online[0])

    def loss(m):
        x, _ = batch()
        a, b = x + 0.1 * torch.randn_like(x), x + 0.1 * torch.randn_like(x)
        with torch.no_grad():
            z = target(b)
        return 2 - 2 * F.cosine_similarity(m[1](m[0](a)), z, dim=-1).mean()

    def after():
        with torch.no_grad():
            for t, p in zip(target.parameters(), online[0].parameters(), strict=True):
                t.mul_(0.9).add_(p, alpha=0.1)

    return loop(online, loss, after=after)


@right
def bootstrap_average_before_the_loss():
    online, target = net(6, 8, 8), net(6, 8, 8)
    target.load_state_dict(online.state_dict())

    def loss(m):
        x, _ = batch()
        for t, p in zip(target.parameters(), m.parameters(), strict=True):
            t.data = 0.9 * t.data + 0.1 * p.data
        return F.mse_loss(m(x), target(x + 0.1 * torch.randn_like(x)).detach() + 1)

    return loop(online, loss)


@right
def momentum_contrast_with_a_queue():
    query = net(6, 8)
    key = copy.deepcopy(query).requires_grad_(False)
    queue = F.normalize(torch.randn(32, 8), dim=1)
    at = 0
    optimizer = torch.optim.SGD(query.parameters(), 0.05)

    def step():
        nonlocal at
        x, _ = batch(8)
        q = F.normalize(query(x), dim=1)
        with torch.no_grad():
            for k, p in zip(key.parameters(), query.parameters(), strict=True):
                k.data = k.data * 0.99 + p.data * 0.01
            ks = F.normalize(key(x + 0.1), dim=1)
        logits = torch.cat([(q * ks).sum(1, keepdim=True), q @ queue.clone().detach().T], 1)
        loss = F.cross_entropy(logits / 0.2, torch.zeros(8, dtype=torch.long))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        with torch.no_grad():
            queue[at : at + 8] = ks
        at = (at + 8) % 32

    return step


@right
def two_player_game():
    g, d = net(4, 16, 6), net(6, 16, 1)
    og, od = torch.optim.Adam(g.parameters(), 1e-3), torch.optim.Adam(d.parameters(), 1e-3)

    def step():
        real, fake = torch.randn(16, 6) + 1, g(torch.randn(16, 4))
        od.zero_grad()
        bce = F.binary_cross_entropy_with_logits
        (bce(d(real), torch.ones(16, 1)) + bce(d(fake.detach()), torch.zeros(16, 1))).backward()
        od.step()
        og.zero_grad()
        bce(d(fake), torch.ones(16, 1)).backward()
        og.step()

    return step


@right
def critic_with_clipped_weights():
    g, d = net(4, 16, 6), net(6, 16, 1)
    og, od = torch.optim.RMSprop(g.parameters(), 1e-3), torch.optim.RMSprop(d.parameters(), 1e-3)

    def run():
        for n in range(100):
            od.zero_grad()
            loss = d(g(torch.randn(16, 4)).detach()).mean() - d(torch.randn(16, 6) + 1).mean()
            loss.backward()
            od.step()
            for p in d.parameters():
                p.data.clamp_(-0.1, 0.1)
            if n % 3 == 2:
                og.zero_grad()
                (-d(g(torch.randn(16, 4))).mean()).backward()
                og.step()

    return run


@right
def critic_with_gradient_penalty():
    g, d = net(4, 16, 6), net(6, 16, 1)
    og, od = torch.optim.Adam(g.parameters(), 1e-3), torch.optim.Adam(d.parameters(), 1e-3)

    def step():
        real = torch.randn(16, 6) + 1
        fake = g(torch.randn(16, 4)).detach()
        t = torch.rand(16, 1)
        mid = (t * real + (1 - t) * fake).requires_grad_()
        (dx,) = torch.autograd.grad(d(mid).sum(), mid, create_graph=True)
        loss = d(fake).mean() - d(real).mean() + 10 * (dx.norm(dim=1) - 1).square().mean()
        od.zero_grad()
        loss.backward()
        od.step()
        og.zero_grad()
        (-d(g(torch.randn(16, 4))).mean()).backward()
        og.step()

    return step


@right
def vector_quantisation():
    model = nn.ModuleDict({"e": net(6, 8, 4), "d": net(4, 8, 6), "book": nn.Embedding(16, 4)})

    def loss(m):
        x, _ = batch()
        z = m["e"](x)
        q = m["book"](torch.cdist(z, m["book"].weight).argmin(1))
        straight = z + (q - z).detach()
        return (
            F.mse_loss(m["d"](straight), x)
            + F.mse_loss(q, z.detach())
            + 0.25 * F.mse_loss(z, q.detach())
        )

    return loop(model, loss, torch.optim.Adam(model.parameters(), 1e-2))


@right
def vector_quantisation_by_averages():
    model = nn.ModuleDict({"e": net(6, 8, 4), "d": net(4, 8, 6), "book": nn.Embedding(16, 4)})
    count, total = torch.ones(16), model["book"].weight.detach().clone()

    def loss(m):
        x, _ = batch()
        z = m["e"](x)
        hot = F.one_hot(torch.cdist(z, m["book"].weight).argmin(1), 16).to(z.dtype)
        q = hot @ m["book"].weight
        with torch.no_grad():
            count.mul_(0.9).add_(hot.sum(0), alpha=0.1)
            total.mul_(0.9).add_(hot.T @ z, alpha=0.1)
            m["book"].weight.copy_(total / count[:, None])
        q = q.detach()
        return F.mse_loss(m["d"](z + (q - z).detach()), x) + 0.25 * F.mse_loss(z, q)

    return loop(model, loss, torch.optim.Adam(model.parameters(), 1e-2))


@right
def sharpness_aware():
    model = net(6, 8, 3)
    optimizer = torch.optim.SGD(model.parameters(), 0.05, momentum=0.9)

    def step():
        x, y = batch()
        F.cross_entropy(model(x), y).backward()
        norm = torch.stack([p.grad.norm() for p in model.parameters()]).norm()
        moves = []
        for p in model.parameters():
            e = 0.05 * p.grad / (norm + 1e-12)
            p.data.add_(e)
            moves.append(e)
        optimizer.zero_grad()
        F.cross_entropy(model(x), y).backward()
        for p, e in zip(model.parameters(), moves, strict=True):
            p.data.sub_(e)
        optimizer.step()
        optimizer.zero_grad()

    return step


@right
def quasi_newton_with_a_closure():
    model = net(6, 8, 3)
    x, y = batch(64)
    optimizer = torch.optim.LBFGS(model.parameters(), max_iter=4)

    def closure():
        optimizer.zero_grad()
        loss = F.cross_entropy(model(x), y)
        loss.backward()
        return loss

    return lambda: optimizer.step(closure)


@right
def checkpoint_without_reentry():
    model = nn.Sequential(
        nn.Linear(6, 8), nn.Sequential(nn.Linear(8, 8), nn.Dropout(0.3), nn.Tanh()), nn.Linear(8, 3)
    )

    def loss(m):
        x, y = batch()
        return F.cross_entropy(m[2](checkpoint(m[1], m[0](x), use_reentrant=False)), y)

    return loop(model, loss)


@right
def checkpoint_with_reentry():
    model = nn.Sequential(
        nn.Linear(6, 8), nn.Sequential(nn.Linear(8, 8), nn.Dropout(0.3), nn.Tanh()), nn.Linear(8, 3)
    )

    def loss(m):
        x, y = batch()
        return F.cross_entropy(m[2](checkpoint(m[1], m[0](x), use_reentrant=True)), y)

    return loop(model, loss)


@right
def policy_gradient_with_a_baseline():
    actor, critic = net(6, 8, 3), net(6, 8, 1)
    optimizer = torch.optim.Adam([*actor.parameters(), *critic.parameters()], 1e-2)

    def step():
        x, y = batch()
        policy = torch.distributions.Categorical(logits=actor(x))
        action = policy.sample()
        reward = (action == y).float()
        value = critic(x).squeeze(-1)
        gain = reward - value.detach()
        loss = (
            -(policy.log_prob(action) * gain).mean()
            + F.mse_loss(value, reward)
            - 0.01 * policy.entropy().mean()
        )
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(actor.parameters(), 0.5)
        optimizer.step()

    return step


@right
def clipped_ratio_epochs():
    model = net(6, 16, 3)
    optimizer = torch.optim.Adam(model.parameters(), 1e-2)

    def run():
        for _ in range(20):
            x, y = batch(32)
            with torch.no_grad():
                old = torch.distributions.Categorical(logits=model(x))
                action = old.sample()
                before = old.log_prob(action)
            gain = (action == y).float() - 0.3
            for _ in range(3):
                now = torch.distributions.Categorical(logits=model(x)).log_prob(action)
                ratio = (now - before).exp()
                loss = -torch.min(ratio * gain, ratio.clamp(0.8, 1.2) * gain).mean()
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()

    return run


@right
def deep_q_learning():
    model = net(6, 16, 3)
    target = copy.deepcopy(model)
    optimizer = torch.optim.Adam(model.parameters(), 1e-2)
    count = 0

    def step():
        nonlocal count
        x, a = batch()
        aim = torch.randn(16) + 0.9 * target(x + 0.1).max(1).values.detach()
        loss = F.smooth_l1_loss(model(x)[torch.arange(16), a], aim)
        optimizer.zero_grad()
        loss.backward()
        for p in model.parameters():
            p.grad.data.clamp_(-1, 1)
        optimizer.step()
        count += 1
        if count % 3 == 0:
            target.load_state_dict(model.state_dict())

    return step


@right
def truncated_through_time():
    cell, head = nn.GRUCell(6, 8), nn.Linear(8, 3)
    optimizer = torch.optim.Adam([*cell.parameters(), *head.parameters()], 1e-2)
    h = torch.zeros(16, 8)

    def step():
        nonlocal h
        h = h.detach()
        loss = 0.0
        for _ in range(3):
            x, y = batch()
            h = cell(x, h)
            loss = loss + F.cross_entropy(head(h), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    return step


@right
def lstm_and_padding():
    table, rnn, head = (
        nn.Embedding(10, 6, padding_idx=0),
        nn.LSTM(6, 8, batch_first=True),
        nn.Linear(8, 3),
    )
    model = nn.ModuleList([table, rnn, head])

    def loss(m):
        tokens = torch.randint(0, 10, (8, 5))
        out, _ = m[1](m[0](tokens))
        return F.cross_entropy(m[2](out[:, -1]), tokens[:, 0] % 3)

    return loop(model, loss, torch.optim.Adam(model.parameters(), 1e-2))


@right
def autocast_to_bfloat16():
    def loss(m):
        x, y = batch()
        with torch.autocast("cpu", torch.bfloat16):
            out = m(x)
        return F.cross_entropy(out.float(), y)

    return loop(net(6, 16, 3), loss)


@right
def all_in_bfloat16():
    model = net(6, 16, 3).to(torch.bfloat16)

    def loss(m):
        x, y = batch()
        return F.cross_entropy(m(x.bfloat16()), y)

    return loop(model, loss)


@right
def scaled_loss():
    model = net(6, 8, 3)
    optimizer = torch.optim.SGD(model.parameters(), 0.05)
    scaler = torch.amp.GradScaler("cpu", init_scale=256.0)

    def step():
        optimizer.zero_grad()
        scaler.scale(classify(model)).backward()
        scaler.unscale_(optimizer)
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        scaler.step(optimizer)
        scaler.update()

    return step


@right
def two_scaled_losses():
    """Both go through the scaler, and a penalty on gradients comes after they are unscaled."""
    model = net(6, 8, 3)
    optimizer = torch.optim.Adam(model.parameters(), 1e-2)
    scaler = torch.amp.GradScaler("cpu", init_scale=1024.0)

    def step():
        optimizer.zero_grad()
        scaler.scale(classify(model)).backward()
        scaler.scale(0.1 * model(batch()[0]).square().mean()).backward()
        scaler.unscale_(optimizer)
        for p in model.parameters():
            p.grad.add_(p.detach(), alpha=0.01)
        scaler.step(optimizer)
        scaler.update()

    return step


class Saved:
    """A trainer that can be saved: what it saves is up to `parts`."""

    def __init__(self, *parts):
        self.parts = parts
        self.model = nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Dropout(0.2), nn.Linear(8, 3))
        self.optimizer = torch.optim.SGD(self.model.parameters(), 0.1, momentum=0.9)
        self.schedule = torch.optim.lr_scheduler.LambdaLR(self.optimizer, lambda n: 0.5**n)
        self.batches = [batch() for _ in range(8)]

    def step(self, n):
        x, y = self.batches[n % 8]
        self.optimizer.zero_grad()
        F.cross_entropy(self.model(x), y).backward()
        self.optimizer.step()
        self.schedule.step()

    def state_dict(self):
        return {part: getattr(self, part).state_dict() for part in self.parts}

    def load_state_dict(self, state):
        for part in self.parts:
            getattr(self, part).load_state_dict(state[part])


@right
def saved_whole():
    return Saved("model", "optimizer", "schedule")


@right
def norms_and_dropout():
    model = nn.Sequential(
        nn.Linear(6, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(0.5), nn.Linear(8, 8), nn.LayerNorm(8),
        nn.GELU(), nn.Linear(8, 3),
    )  # fmt: skip
    return loop(model, classify)


@right
def convolutions():
    model = nn.Sequential(
        nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(inplace=True), nn.MaxPool2d(2), nn.Flatten(),
        nn.Linear(36, 3),
    )  # fmt: skip

    def loss(m):
        x = torch.randn(8, 1, 8, 8)
        return F.cross_entropy(m(x), x.flatten(1)[:, :3].argmax(1))

    return loop(
        model, loss, torch.optim.SGD(model.parameters(), 0.05, momentum=0.9, weight_decay=1e-3)
    )


@right
def spectral_norms_old_and_new():
    model = nn.Sequential(
        nn.utils.spectral_norm(nn.Linear(6, 8)), nn.Tanh(),
        nn.utils.parametrizations.spectral_norm(nn.Linear(8, 8)), nn.Tanh(), nn.Linear(8, 3),
    )  # fmt: skip
    return loop(model, classify)


@right
def weight_norm():
    model = nn.Sequential(
        nn.utils.parametrizations.weight_norm(nn.Linear(6, 8)), nn.Tanh(), nn.Linear(8, 3)
    )
    return loop(model, classify)


@right
def hard_gumbel_samples():
    def loss(m):
        x, y = batch()
        return F.cross_entropy(m[2](F.gumbel_softmax(m[0](x), tau=0.7, hard=True)), y)

    return loop(net(6, 8, 3), loss)


@right
def clipped_by_hooks():
    model = net(6, 8, 3)
    for p in model.parameters():
        p.register_hook(lambda g: g.clamp(-0.01, 0.01))

    def loss(m):
        x, y = batch()
        h = m[1](m[0](x))
        h.register_hook(lambda g: 0.5 * g)
        return F.cross_entropy(m[2](h), y)

    return loop(model, loss)


@right
def masked_by_hooks():
    model = net(6, 8, 3)
    keep = (torch.rand(8, 6) > 0.5).float()
    with torch.no_grad():
        model[0].weight.mul_(keep)
    model[0].weight.register_hook(lambda g: g * keep)
    return loop(model, classify)


@right
def tied_embedding():
    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            self.table, self.mix, self.out = (
                nn.Embedding(12, 8),
                nn.Linear(8, 8),
                nn.Linear(8, 12, bias=False),
            )
            self.out.weight = self.table.weight

        def forward(self, i):
            return self.out(self.mix(self.table(i)).tanh())

    def loss(m):
        i = torch.randint(0, 12, (16,))
        return F.cross_entropy(m(i), (i + 1) % 12)

    return loop(Model(), loss)


@right
def frozen_backbone_not_marked():
    body, head = net(6, 8), nn.Linear(8, 3)
    model = nn.Sequential(body, nn.Tanh(), head)
    return loop(model, classify, torch.optim.SGD(head.parameters(), 0.1))


@right
def frozen_backbone_under_no_grad():
    body, head = net(6, 8).requires_grad_(False), nn.Linear(8, 3)

    def loss(m):
        x, y = batch()
        with torch.no_grad():
            h = body(x)
        return F.cross_entropy(m(h), y)

    return loop(head, loss)


@right
def unused_parameters():
    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            self.used, self.idle = net(6, 8, 3), nn.Linear(4, 4)

        def forward(self, x):
            return self.used(x)

    model = Model()
    return loop(model, classify, torch.optim.AdamW(model.parameters(), 1e-2))


@right
def averaged_models():
    model = net(6, 8, 3)
    swa = torch.optim.swa_utils.AveragedModel(model)
    return loop(model, classify, after=lambda: swa.update_parameters(model))


@right
def fake_quantisation_of_torch():
    def loss(m):
        x, y = batch()
        w = torch.fake_quantize_per_tensor_affine(m[0].weight, 0.1, 0, -128, 127)
        return F.cross_entropy(m[2](F.linear(x, w, m[0].bias).tanh()), y)

    return loop(net(6, 8, 3), loss)


@right
def schedulers():
    model = net(6, 8, 3)
    optimizer = torch.optim.SGD(model.parameters(), 0.1, momentum=0.9, nesterov=True)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 0.1, total_steps=100)
    return loop(model, classify, optimizer, after=schedule.step)


@right
def warmup_from_zero():
    model = net(6, 8, 3)
    optimizer = torch.optim.Adam(model.parameters(), 1e-2)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda n: min(1.0, n / 10))
    return loop(model, classify, optimizer, after=schedule.step)


@right
def several_losses_one_forward():
    model = net(6, 8, 3)
    optimizer = torch.optim.SGD(model.parameters(), 0.05)

    def step():
        x, y = batch()
        out = model(x)
        optimizer.zero_grad()
        F.cross_entropy(out, y).backward(retain_graph=True)
        (0.01 * out.square().mean()).backward()
        optimizer.step()

    return step


@right
def descent_by_hand():
    w = torch.randn(6, 3, requires_grad=True)
    b = torch.zeros(3, requires_grad=True)

    def run():
        for _ in range(30):
            x, y = batch()
            loss = F.cross_entropy(x @ w + b, y)
            loss.backward()
            with torch.no_grad():
                for p in (w, b):
                    p -= 0.1 * p.grad
                    p.grad.zero_()

    return run


@right
def descent_by_hand_through_data():
    w = torch.randn(6, 3, requires_grad=True)

    def step():
        x, y = batch()
        w.grad = None
        F.cross_entropy(x @ w, y).backward()
        w.data -= 0.1 * w.grad.data

    return step


@right
def functional_descent():
    model = net(6, 8, 3)
    params = [p.detach().clone().requires_grad_() for p in model.parameters()]
    names = [n for n, _ in model.named_parameters()]

    def step():
        nonlocal params
        x, y = batch()
        out = torch.func.functional_call(model, dict(zip(names, params, strict=True)), x)
        grads = torch.autograd.grad(F.cross_entropy(out, y), params)
        params = [
            (p - 0.1 * g).detach().requires_grad_() for p, g in zip(params, grads, strict=True)
        ]

    return step


@right
def weights_set_by_numbers():
    def loss(m):
        x, y = batch()
        a = F.cross_entropy(m(x), y)
        b = m(x).square().mean()
        return a / a.item() + 0.1 * a.tolist() * b

    return loop(net(6, 8, 3), loss)


@right
def accumulation_with_unequal_lengths():
    model = net(6, 8, 3)
    optimizer = torch.optim.SGD(model.parameters(), 0.05)

    def step():
        x, y = batch(20)
        for a, b in zip(x.split([9, 7, 4]), y.split([9, 7, 4]), strict=True):
            (F.cross_entropy(model(a), b, reduction="sum") / 20).backward()
        nn.utils.clip_grad_norm_(model.parameters(), 0.1)
        optimizer.step()
        optimizer.zero_grad(set_to_none=False)

    return step


@right
def meta_learning_inner_step():
    model = net(6, 8, 3)

    def loss(m):
        x, y = batch()
        named = dict(m.named_parameters())
        inner = F.cross_entropy(m(x), y)
        grads = torch.autograd.grad(inner, list(named.values()), create_graph=True)
        fast = {n: p - 0.1 * g for (n, p), g in zip(named.items(), grads, strict=True)}
        x, y = batch()
        return F.cross_entropy(torch.func.functional_call(m, fast, x), y)

    return loop(model, loss)


def fast_weights(second, keep=None):
    """Two inner steps: the second asks for gradients of tensors that have a graph."""
    model = net(6, 8, 3)

    def loss(m):
        fast = dict(m.named_parameters())
        for _ in range(2):
            x, y = batch()
            inner = F.cross_entropy(torch.func.functional_call(m, fast, x), y)
            grads = torch.autograd.grad(inner, list(fast.values()), create_graph=second)
            fast = {n: p - 0.1 * g for (n, p), g in zip(fast.items(), grads, strict=True)}
        if keep is not None:
            keep.append(fast)
        x, y = batch()
        return F.cross_entropy(torch.func.functional_call(m, fast, x), y)

    return loop(model, loss)


@right
def two_inner_steps():
    return fast_weights(True)


@right
def two_inner_steps_of_first_order():
    return fast_weights(False)


@right
def meta_learning_first_order():
    model = net(6, 8, 3)

    def loss(m):
        x, y = batch()
        named = dict(m.named_parameters())
        grads = torch.autograd.grad(F.cross_entropy(m(x), y), list(named.values()))
        fast = {n: p - 0.1 * g for (n, p), g in zip(named.items(), grads, strict=True)}
        x, y = batch()
        return F.cross_entropy(torch.func.functional_call(m, fast, x), y)

    return loop(model, loss)


@right
def adversarial_examples():
    model = net(6, 8, 3)
    optimizer = torch.optim.SGD(model.parameters(), 0.05)

    def step():
        x, y = batch()
        x = x.clone().requires_grad_()
        F.cross_entropy(model(x), y).backward()
        worse = (x + 0.1 * x.grad.sign()).detach()
        optimizer.zero_grad()
        F.cross_entropy(model(worse), y).backward()
        optimizer.step()

    return step


@right
def gradient_surgery():
    model = net(6, 8, 3)
    optimizer = torch.optim.SGD(model.parameters(), 0.05)

    def step():
        x, y = batch()
        out = model(x)
        parts = []
        for task in (F.cross_entropy(out, y), out.square().mean()):
            optimizer.zero_grad()
            task.backward(retain_graph=True)
            parts.append([p.grad.clone() for p in model.parameters()])
        dot = sum((a * b).sum() for a, b in zip(*parts, strict=True))
        norm = sum(b.square().sum() for b in parts[1])
        for p, a, b in zip(model.parameters(), *parts, strict=True):
            p.grad = a + b - (torch.clamp(dot, max=0.0) / norm) * b
        optimizer.step()

    return step


@right
def private_gradients():
    model = net(6, 8, 3)
    optimizer = torch.optim.SGD(model.parameters(), 0.05)

    def step():
        x, y = batch(5)
        total = [torch.zeros_like(p) for p in model.parameters()]
        for n in range(5):
            optimizer.zero_grad()
            F.cross_entropy(model(x[n : n + 1]), y[n : n + 1]).backward()
            norm = torch.stack([p.grad.norm() for p in model.parameters()]).norm()
            for t, p in zip(total, model.parameters(), strict=True):
                t += p.grad * min(1.0, 0.5 / norm)
        for t, p in zip(total, model.parameters(), strict=True):
            p.grad = (t + 0.1 * torch.randn_like(t)) / 5
        optimizer.step()

    return step


@right
def log_of_numbers_and_last_graph():
    model = net(6, 8, 3)
    optimizer = torch.optim.SGD(model.parameters(), 0.05)

    def run():
        losses, last = [], None
        for _ in range(30):
            x, y = batch()
            last = F.cross_entropy(model(x), y)
            optimizer.zero_grad()
            last.backward()
            optimizer.step()
            losses.append(last.detach())

    return run


@right
def contrastive_temperature():
    model = nn.ModuleDict({"a": net(6, 8), "b": net(6, 8)})
    model.register_parameter("t", nn.Parameter(torch.tensor(math.log(5.0))))

    def loss(m):
        x, _ = batch()
        a, b = (
            F.normalize(m["a"](x), dim=1),
            F.normalize(m["b"](x + 0.1 * torch.randn_like(x)), dim=1),
        )
        logits = m.t.exp() * a @ b.T
        y = torch.arange(16)
        return (F.cross_entropy(logits, y) + F.cross_entropy(logits.T, y)) / 2

    return loop(model, loss)


class Swish(Function):
    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x * torch.sigmoid(x)

    @staticmethod
    def backward(ctx, g):
        (x,) = ctx.saved_tensors
        s = torch.sigmoid(x)
        return g * (s + x * s * (1 - s))


swish = Swish.apply  # bound when the file is imported, as people do


class LinearLayer(Function):
    @staticmethod
    def forward(x, w, b):
        return x @ w.T + b

    @staticmethod
    def setup_context(ctx, inputs, output):
        x, w, _ = inputs
        ctx.save_for_backward(x, w)

    @staticmethod
    def backward(ctx, g):
        x, w = ctx.saved_tensors
        return g @ w, g.T @ x, g.sum(0)


@right
def own_functions():
    def loss(m):
        x, y = batch()
        return F.cross_entropy(LinearLayer.apply(swish(m[0](x)), m[2].weight, m[2].bias), y)

    return loop(net(6, 8, 3), loss)


class ByNumPy(Function):
    @staticmethod
    def forward(ctx, x):
        import numpy as np

        y = np.tanh(x.detach().numpy())
        ctx.y = y
        return torch.from_numpy(y)

    @staticmethod
    def backward(ctx, g):
        return g * torch.from_numpy(1 - ctx.y**2)


@right
def function_by_numpy():
    def loss(m):
        x, y = batch()
        return F.cross_entropy(m[2](ByNumPy.apply(m[0](x))), y)

    return loop(net(6, 8, 3), loss)


class Dropped(Function):
    @staticmethod
    def forward(ctx, x, p):
        keep = (torch.rand_like(x) > p).to(x.dtype) / (1 - p)
        ctx.save_for_backward(keep)
        return x * keep

    @staticmethod
    def backward(ctx, g):
        (keep,) = ctx.saved_tensors
        return g * keep, None


@right
def own_dropout():
    def loss(m):
        x, y = batch()
        return F.cross_entropy(m[2](Dropped.apply(m[1](m[0](x)), 0.4)), y)

    return loop(net(6, 8, 3), loss)


@right
def low_rank_adapter_from_zero():
    base = nn.Linear(6, 3).requires_grad_(False)
    a, b = nn.Parameter(torch.randn(2, 6)), nn.Parameter(torch.zeros(3, 2))
    optimizer = torch.optim.AdamW([a, b], 1e-2)

    def step():
        x, y = batch()
        loss = F.cross_entropy(base(x) + x @ a.T @ b.T, y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    return step


@right
def attention_block():
    model = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
    head = nn.Linear(8, 3)

    def loss(m):
        x = torch.randn(4, 5, 8)
        return F.cross_entropy(m[1](m[0](x)[:, 0]), x[:, 0, :3].argmax(1))

    return loop(
        nn.ModuleList([model, head]),
        loss,
        torch.optim.Adam([*model.parameters(), *head.parameters()], 1e-3),
    )


@right
def step_inside_backward():
    model = net(6, 8, 3)
    optimizers = {p: torch.optim.SGD([p], 0.05) for p in model.parameters()}

    def take(p):
        optimizers[p].step()
        optimizers[p].zero_grad()

    for p in model.parameters():
        p.register_post_accumulate_grad_hook(take)

    def step():
        classify(model).backward()

    return step


@right
def mixture_of_experts():
    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            self.gate, self.experts = (
                nn.Linear(6, 4),
                nn.ModuleList([net(6, 8, 3) for _ in range(4)]),
            )

        def forward(self, x):
            p, i = self.gate(x).softmax(-1).topk(2, -1)
            out = torch.zeros(len(x), 3, dtype=x.dtype)
            for n, expert in enumerate(self.experts):
                rows, slot = (i == n).nonzero(as_tuple=True)
                if len(rows):
                    out = out.index_add(0, rows, p[rows, slot, None] * expert(x[rows]))
            return out

    return loop(Model(), classify)


@right
def reads_gradient_norm_after_step():
    model = net(6, 8, 3)
    optimizer = torch.optim.SGD(model.parameters(), 0.05)
    norms = []

    def step():
        optimizer.zero_grad()
        classify(model).backward()
        optimizer.step()
        norms.append(float(nn.utils.clip_grad_norm_(model.parameters(), math.inf)))

    return step


@right
def twin_critics_with_soft_targets():
    pi, q = net(6, 16, 2), nn.ModuleList([net(8, 16, 1), net(8, 16, 1)])
    aim = copy.deepcopy(q).requires_grad_(False)
    op, oq = torch.optim.Adam(pi.parameters(), 1e-3), torch.optim.Adam(q.parameters(), 1e-3)

    def step():
        x, _ = batch()
        a = pi(x)
        with torch.no_grad():
            both = torch.cat([x + 0.1, pi(x + 0.1)], 1)
            y = torch.randn(16, 1) + 0.9 * torch.min(aim[0](both), aim[1](both))
        loss = sum(F.mse_loss(c(torch.cat([x, a.detach()], 1)), y) for c in q)
        oq.zero_grad()
        loss.backward()
        oq.step()
        for p in q.parameters():
            p.requires_grad_(False)
        op.zero_grad()
        (-q[0](torch.cat([x, a], 1)).mean()).backward()
        op.step()
        for p in q.parameters():
            p.requires_grad_(True)
        with torch.no_grad():
            for t, p in zip(aim.parameters(), q.parameters(), strict=True):
                t.lerp_(p, 0.01)

    return step


@right
def penalised_by_weight_decay_in_the_loss():
    def loss(m):
        return classify(m) + 1e-2 * sum(p.square().sum() for p in m.parameters())

    return loop(net(6, 8, 3), loss)


@right
def sorted_and_masked():
    def loss(m):
        x, y = batch()
        each = F.cross_entropy(m(x), y, reduction="none")
        hard = each.sort(descending=True).values[:8]
        return hard.mean() + (each * (each.detach() > 0.5)).mean()

    return loop(net(6, 8, 3), loss)


@right
def complex_spectrum():
    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            self.filter, self.head = (
                nn.Parameter(torch.randn(4, dtype=torch.cfloat)),
                nn.Linear(6, 3),
            )

        def forward(self, x):
            return self.head(
                torch.fft.irfft(
                    torch.fft.rfft(x)
                    * self.filter.to(
                        torch.complex128 if x.dtype == torch.float64 else torch.cfloat
                    ),
                    n=6,
                )
            )

    return loop(Model(), classify)


@right
def norm_comes_first():
    """torch hands weight and bias of a norm over by keyword."""
    return loop(
        nn.Sequential(nn.LayerNorm(6), nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 3)), classify
    )


@right
def parameters_as_one_vector():
    """Shrunk by hand through .data, each step."""
    model = net(6, 3)

    def shrunk(m):
        vector = nn.utils.parameters_to_vector(m.parameters())
        nn.utils.vector_to_parameters(vector * 0.99, m.parameters())
        return classify(m)

    return loop(model, shrunk)
