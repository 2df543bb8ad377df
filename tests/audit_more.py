"""A second set, written after the first run: more right and wrong training programs."""

import copy
import math

import torch
from audit_right import batch, classify, loop, net, right
from audit_wrong import WRONG, stepper, with_function, wrong
from torch import nn
from torch.autograd import Function
from torch.nn import functional as F
from torch.nn.utils import prune

# -- right


@right
def diffusion_noise_prediction():
    model = net(7, 16, 6)
    betas = torch.linspace(1e-4, 0.02, 50)
    kept = torch.cumprod(1 - betas, 0)
    ema = copy.deepcopy(model)

    def loss(m):
        x, _ = batch()
        t = torch.randint(0, 50, (16,))
        noise = torch.randn_like(x)
        a = kept[t][:, None]
        noisy = a.sqrt() * x + (1 - a).sqrt() * noise
        return F.mse_loss(m(torch.cat([noisy, t[:, None] / 50], 1)), noise)

    def after():
        for e, p in zip(ema.parameters(), model.parameters(), strict=True):
            e.data.mul_(0.99).add_(p.data, alpha=0.01)

    return loop(model, loss, torch.optim.AdamW(model.parameters(), 1e-3), after)


@right
def variational_autoencoder():
    model = nn.ModuleDict({"e": net(6, 8, 8), "d": net(4, 8, 6)})

    def loss(m):
        x, _ = batch()
        mean, log_var = m["e"](x).chunk(2, -1)
        z = mean + torch.randn_like(mean) * (0.5 * log_var).exp()
        kl = -0.5 * (1 + log_var - mean.square() - log_var.exp()).sum(-1).mean()
        return F.mse_loss(m["d"](z), x) + 0.1 * kl

    return loop(model, loss, torch.optim.Adam(model.parameters(), 1e-3))


@right
def distillation():
    student, teacher = net(6, 8, 3), net(6, 16, 3).eval()

    def loss(m):
        x, y = batch()
        with torch.no_grad():
            aim = (teacher(x) / 2).softmax(-1)
        out = m(x)
        return F.kl_div(
            (out / 2).log_softmax(-1), aim, reduction="batchmean"
        ) * 4 + F.cross_entropy(out, y)

    return loop(student, loss)


@right
def adaptive_lagrangian():
    model, log_alpha = net(6, 8, 3), torch.zeros(1, requires_grad=True)
    om, oa = torch.optim.Adam(model.parameters(), 1e-2), torch.optim.Adam([log_alpha], 1e-2)

    def step():
        x, _ = batch()
        policy = torch.distributions.Categorical(logits=model(x))
        entropy = policy.entropy().mean()
        loss = -log_alpha.exp().detach() * entropy + model(x).square().mean()
        om.zero_grad()
        loss.backward()
        om.step()
        oa.zero_grad()
        (log_alpha * (entropy.detach() - 0.5)).mean().backward()
        oa.step()

    return step


@right
def domain_adversarial_two_steps():
    body, label, domain = net(6, 8), nn.Linear(8, 3), nn.Linear(8, 2)
    main = torch.optim.SGD([*body.parameters(), *label.parameters()], 0.05)
    other = torch.optim.SGD(domain.parameters(), 0.05)

    def step():
        x, y = batch()
        h = body(x).tanh()
        other.zero_grad()
        F.cross_entropy(domain(h.detach()), y % 2).backward()
        other.step()
        main.zero_grad()
        (F.cross_entropy(label(h), y) - 0.1 * F.cross_entropy(domain(h), y % 2)).backward()
        main.step()

    return step


@right
def one_loss_two_optimizers():
    a, b = net(6, 8), nn.Linear(8, 3)
    oa, ob = torch.optim.Adam(a.parameters(), 1e-3), torch.optim.SGD(b.parameters(), 0.1)

    def step():
        x, y = batch()
        oa.zero_grad()
        ob.zero_grad()
        F.cross_entropy(b(a(x).tanh()), y).backward()
        oa.step()
        ob.step()

    return step


@right
def accumulation_every_third_call():
    model, count = net(6, 8, 3), 0
    optimizer = torch.optim.SGD(model.parameters(), 0.05)

    def step():
        nonlocal count
        (classify(model) / 3).backward()
        count += 1
        if count % 3 == 0:
            optimizer.step()
            optimizer.zero_grad()

    return step


@right
def gradients_smoothed_by_hand():
    model = net(6, 8, 3)
    optimizer = torch.optim.SGD(model.parameters(), 0.05)

    def step():
        for p in model.parameters():
            if p.grad is not None:
                p.grad.mul_(0.9)
        classify(model).backward()
        optimizer.step()

    return step


@right
def gradient_average_added():
    """Slow gradients amplified: the average of the past is added to the new one."""
    model, mean = net(6, 8, 3), {}
    optimizer = torch.optim.SGD(model.parameters(), 0.05)

    def step():
        optimizer.zero_grad()
        classify(model).backward()
        for n, p in model.named_parameters():
            mean[n] = p.grad.clone() if n not in mean else 0.9 * mean[n] + 0.1 * p.grad
            p.grad.add_(mean[n], alpha=2.0)
        optimizer.step()

    return step


@right
def clipped_by_value_and_decayed():
    model = net(6, 8, 3)
    optimizer = torch.optim.SGD(model.parameters(), 0.05)

    def step():
        optimizer.zero_grad()
        classify(model).backward()
        nn.utils.clip_grad_value_(model.parameters(), 0.01)
        for p in model.parameters():
            p.grad += 1e-3 * p.data
        optimizer.step()

    return step


@right
def look_ahead_weights():
    model, slow, count = net(6, 8, 3), None, 0
    slow = [p.detach().clone() for p in model.parameters()]

    def after():
        nonlocal count
        count += 1
        if count % 2 == 0:
            with torch.no_grad():
                for s, p in zip(slow, model.parameters(), strict=True):
                    s += 0.5 * (p - s)
                    p.copy_(s)

    return loop(model, classify, after=after)


@right
def orthogonal_and_pruned():
    model = nn.Sequential(
        nn.utils.parametrizations.orthogonal(nn.Linear(6, 6)), nn.Tanh(), nn.Linear(6, 8), nn.Tanh(),
        nn.Linear(8, 3),
    )  # fmt: skip
    prune.l1_unstructured(model[2], "weight", 0.4)
    return loop(model, classify)


@right
def normalised_weights_after_each_step():
    model = net(6, 8, 3)

    def after():
        with torch.no_grad():
            model[0].weight.div_(model[0].weight.norm(dim=1, keepdim=True))

    return loop(model, classify, after=after)


@right
def random_augmentation_under_no_grad():
    model = net(6, 8, 3)

    def loss(m):
        x, y = batch()
        with torch.no_grad():
            x = x * (torch.rand_like(x) > 0.1)
            x += 0.05 * torch.randn_like(x)
            x[:, 0] = x[:, 0].clamp(-1, 1)
        return F.cross_entropy(m(x), y)

    return loop(model, loss)


@right
def attention_with_a_mask():
    q, k, v, head = (nn.Linear(6, 6) for _ in range(4))
    model = nn.ModuleList([q, k, v, head])

    def loss(m):
        x = torch.randn(4, 5, 6)
        score = m[0](x) @ m[1](x).mT / math.sqrt(6)
        score = score.masked_fill(torch.triu(torch.ones(5, 5, dtype=torch.bool), 1), -math.inf)
        return F.mse_loss(m[3](score.softmax(-1) @ m[2](x)), x.roll(-1, 1))

    return loop(model, loss, torch.optim.Adam(model.parameters(), 1e-3))


@right
def fused_attention_and_inplace_relu():
    model = nn.ModuleList([nn.Linear(6, 18), nn.Linear(6, 6)])

    def loss(m):
        x = torch.randn(4, 5, 6)
        q, k, v = m[0](x).chunk(3, -1)
        h = F.scaled_dot_product_attention(q[:, None], k[:, None], v[:, None], is_causal=True)[:, 0]
        h = torch.relu_(m[1](h)).mul(0.5)
        return F.mse_loss(h, x)

    return loop(model, loss)


@right
def sinkhorn_detached_plan():
    model = net(6, 4)

    def loss(m):
        x, _ = batch()
        a, b = m(x), m(x + 0.2)
        cost = torch.cdist(a, b)
        with torch.no_grad():
            plan = torch.exp(-cost / 0.5)
            for _ in range(5):
                plan /= plan.sum(1, keepdim=True)
                plan /= plan.sum(0, keepdim=True)
        return (plan * cost).sum() / 16

    return loop(model, loss)


@right
def energy_model_with_langevin():
    model = net(6, 16, 1)
    optimizer = torch.optim.Adam(model.parameters(), 1e-3)

    def step():
        x = torch.randn(16, 6)
        z = torch.randn(16, 6)
        for _ in range(3):
            z = z.detach().requires_grad_()
            (dz,) = torch.autograd.grad(model(z).sum(), z)
            z = z - 0.1 * dz + 0.01 * torch.randn_like(z)
        z = z.detach()
        loss = model(x).mean() - model(z).mean() + 0.1 * (model(x) ** 2 + model(z) ** 2).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    return step


@right
def physics_informed():
    model = net(1, 16, 16, 1)

    def loss(m):
        t = torch.rand(16, 1).requires_grad_()
        u = m(t)
        (du,) = torch.autograd.grad(u.sum(), t, create_graph=True)
        (ddu,) = torch.autograd.grad(du.sum(), t, create_graph=True)
        return (ddu + u).square().mean() + (m(torch.zeros(1, 1)) - 1).square().mean()

    return loop(model, loss, torch.optim.Adam(model.parameters(), 1e-3))


@right
def evaluation_between_the_steps():
    model = nn.Sequential(nn.Linear(6, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 3))
    optimizer = torch.optim.SGD(model.parameters(), 0.05)

    def run():
        best = math.inf
        for _ in range(20):
            model.train()
            loss = classify(model)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
            model.eval()
            with torch.no_grad():
                score = classify(model).item()
            if score < best:
                best, kept = score, copy.deepcopy(model.state_dict())
        return kept

    return run


@right
def metrics_computed_with_a_graph():
    model = nn.ModuleDict({"main": net(6, 8, 3), "probe": nn.Linear(6, 2)})

    def loss(m):
        x, y = batch()
        _ = F.cross_entropy(m["probe"](x), y % 2)
        return F.cross_entropy(m["main"](x), y)

    return loop(model, loss)


@right
def sparse_embedding():
    table, head = nn.Embedding(20, 6, sparse=True), nn.Linear(6, 3)
    sparse, dense = torch.optim.SparseAdam(table.parameters()), torch.optim.Adam(head.parameters())

    def step():
        i = torch.randint(0, 20, (16,))
        sparse.zero_grad()
        dense.zero_grad()
        F.cross_entropy(head(table(i)), i % 3).backward()
        sparse.step()
        dense.step()

    return step


@right
def ctc_after_log_softmax():
    rnn, head = nn.GRU(6, 8), nn.Linear(8, 5)
    model = nn.ModuleList([rnn, head])

    def loss(m):
        x = torch.randn(10, 4, 6)
        out = m[1](m[0](x)[0]).log_softmax(-1)
        y = torch.randint(1, 5, (4, 3))
        return F.ctc_loss(out, y, torch.full((4,), 10), torch.full((4,), 3))

    return loop(model, loss)


@right
def grid_sampler():
    model = net(6, 8, 6)

    def loss(m):
        x, _ = batch(4)
        grid = F.affine_grid(m(x).reshape(4, 2, 3) * 0.3, [4, 1, 5, 5], align_corners=False)
        return F.grid_sample(torch.randn(4, 1, 8, 8), grid, align_corners=False).square().mean()

    return loop(model, loss)


@right
def custom_optimizer_class():
    class SignDescent(torch.optim.Optimizer):
        def __init__(self, params, lr):
            super().__init__(params, {"lr": lr})

        @torch.no_grad()
        def step(self, closure=None):
            for group in self.param_groups:
                for p in group["params"]:
                    if p.grad is not None:
                        p.add_(p.grad.sign(), alpha=-group["lr"])

    model = net(6, 8, 3)
    return loop(model, classify, SignDescent(model.parameters(), 1e-3))


@right
def data_parallel_by_hand():
    models = [net(6, 8, 3)]
    models.append(copy.deepcopy(models[0]))
    optimizers = [torch.optim.SGD(m.parameters(), 0.05, momentum=0.9) for m in models]

    def step():
        for m, o in zip(models, optimizers, strict=True):
            o.zero_grad()
            classify(m).backward()
        for a, b in zip(models[0].parameters(), models[1].parameters(), strict=True):
            mean = (a.grad + b.grad) / 2
            a.grad, b.grad = mean, mean.clone()
        for o in optimizers:
            o.step()

    return step


@right
def federated_clients():
    server = net(6, 8, 3)
    clients = [copy.deepcopy(server) for _ in range(2)]
    optimizers = [torch.optim.SGD(m.parameters(), 0.05) for m in clients]
    count = 0

    def step():
        nonlocal count
        for m, o in zip(clients, optimizers, strict=True):
            o.zero_grad()
            classify(m).backward()
            o.step()
        count += 1
        if count % 2 == 0:
            with torch.no_grad():
                for s, *ps in zip(*(m.parameters() for m in (server, *clients)), strict=True):
                    s.copy_(sum(ps) / 2)
                    for p in ps:
                        p.copy_(s)

    return step


@right
def reversible_recompute():
    class Recompute(Function):
        @staticmethod
        def forward(ctx, run, x, *params):
            ctx.run, ctx.rng = run, torch.get_rng_state()
            ctx.save_for_backward(x, *params)
            return run(x)

        @staticmethod
        def backward(ctx, g):
            x, *params = ctx.saved_tensors
            x = x.detach().requires_grad_()
            now = torch.get_rng_state()
            torch.set_rng_state(ctx.rng)
            with torch.enable_grad():
                y = ctx.run(x)
            torch.set_rng_state(now)
            return (None, *torch.autograd.grad(y, (x, *params), g))

    model = net(6, 8, 3)

    def loss(m):
        x, y = batch()
        h = Recompute.apply(lambda z: F.dropout(m[0](z).tanh(), 0.3), x, *m[0].parameters())
        return F.cross_entropy(m[2](h), y)

    return loop(model, loss)


class Stochastic(Function):
    """Noise is added to the gradient on its way, unbiased; the forward does nothing."""

    @staticmethod
    def forward(ctx, x):
        return x.clone()

    @staticmethod
    def backward(ctx, g):
        return g + 1e-3 * torch.randn_like(g)


@right
def noisy_gradients():
    return with_function(Stochastic.apply)()


class InPlaceRelu(Function):
    @staticmethod
    def forward(ctx, x):
        ctx.mark_dirty(x)
        x.clamp_(min=0)
        ctx.save_for_backward(x)
        return x

    @staticmethod
    def backward(ctx, g):
        (y,) = ctx.saved_tensors
        return g * (y > 0)


@right
def own_relu_in_place():
    return with_function(InPlaceRelu.apply)()


class TopK(Function):
    """Keeps the largest of each row; the indices are no differentiable output."""

    @staticmethod
    def forward(ctx, x):
        y, i = x.topk(3, -1)
        ctx.mark_non_differentiable(i)
        ctx.save_for_backward(i)
        ctx.shape = x.shape
        return y, i

    @staticmethod
    def backward(ctx, g, _):
        (i,) = ctx.saved_tensors
        return torch.zeros(ctx.shape, dtype=g.dtype).scatter(-1, i, g)


@right
def own_top_k():
    model = net(6, 8, 3)

    def loss(m):
        x, y = batch()
        return F.cross_entropy(TopK.apply(m(x))[0], y * 0) + F.cross_entropy(m(x), y)

    return loop(model, loss)


class StableNorm(Function):
    @staticmethod
    def forward(ctx, x):
        n = x.norm(dim=-1, keepdim=True)
        ctx.save_for_backward(x, n)
        return n

    @staticmethod
    def backward(ctx, g):
        x, n = ctx.saved_tensors
        return torch.where(n > 0, g * x / n.clamp(min=1e-12), 0.0)


@right
def norm_with_zero_rows():
    def loss(m):
        x, y = batch()
        h = m[0](x)
        h = torch.cat([h, torch.zeros(2, 8, dtype=h.dtype)])
        return StableNorm.apply(h).mean() + F.cross_entropy(m(x), y)

    return loop(net(6, 8, 3), loss)


@right
def forward_in_half_backward_in_float():
    class HalfMatmul(Function):
        @staticmethod
        def forward(ctx, x, w):
            ctx.save_for_backward(x, w)
            return (x.bfloat16() @ w.bfloat16().T).to(x.dtype)

        @staticmethod
        def backward(ctx, g):
            x, w = ctx.saved_tensors
            return g @ w, g.T @ x

    def loss(m):
        x, y = batch()
        return F.cross_entropy(m[2](HalfMatmul.apply(x, m[0].weight).tanh()), y)

    return loop(net(6, 8, 3), loss)


@right
def hinge_at_its_kinks():
    model = nn.Linear(6, 1)
    with torch.no_grad():
        model.weight.zero_()
        model.bias.fill_(1.0)

    def loss(m):
        x, y = batch()
        return F.relu(1 - m(x).squeeze(-1) * (2.0 * (y > 0) - 1)).mean() + m.weight.abs().sum()

    return loop(model, loss)


# -- wrong


@wrong("added to the next one's")
def critic_never_zeroed():
    g, d = net(4, 16, 6), net(6, 16, 1)
    og, od = torch.optim.SGD(g.parameters(), 1e-3), torch.optim.SGD(d.parameters(), 1e-3)

    def step():
        (
            F.softplus(d(g(torch.randn(16, 4)).detach())) + F.softplus(-d(torch.randn(16, 6)))
        ).mean().backward()
        od.step()
        og.zero_grad()
        F.softplus(-d(g(torch.randn(16, 4)))).mean().backward()
        og.step()
        d.requires_grad_(True)

    return step


@wrong("thrown away")
def last_window_dropped():
    model = net(6, 8, 3)

    def body(m, o):
        o.zero_grad()
        for n in range(5):
            (classify(m) / 2).backward()
            if n % 2 == 1:
                o.step()
                o.zero_grad()

    return stepper(model, body)


@wrong("no parameter ever moves")
def optimizer_zeroes_in_a_wrapper():
    class Wrapped(torch.optim.SGD):
        def step(self, closure=None):
            self.zero_grad()
            return super().step(closure)

    model = net(6, 8, 3)
    return stepper(
        model, lambda m, o: (classify(m).backward(), o.step()), Wrapped(model.parameters(), 0.1)
    )


@wrong("item(), float() or tolist()")
def kl_term_by_float():
    model = nn.ModuleDict({"e": net(6, 8, 8), "d": net(4, 8, 6)})

    def loss(m):
        x, _ = batch()
        mean, log_var = m["e"](x).chunk(2, -1)
        z = mean + torch.randn_like(mean) * (0.5 * log_var).exp()
        kl = -0.5 * (1 + log_var - mean.square() - log_var.exp()).sum(-1).mean()
        return F.mse_loss(m["d"](z), x) + 0.1 * kl.item()

    return loop(model, loss)


class BatchNormFrozen(Function):
    """The statistics are taken for constants in the backward."""

    @staticmethod
    def forward(ctx, x):
        s = x.std(0, unbiased=False) + 1e-5
        ctx.save_for_backward(s)
        return (x - x.mean(0)) / s

    @staticmethod
    def backward(ctx, g):
        (s,) = ctx.saved_tensors
        return g / s


class CumulativeBackwards(Function):
    @staticmethod
    def forward(ctx, x):
        return x.cumsum(-1)

    @staticmethod
    def backward(ctx, g):
        return g.cumsum(-1)


class GatherOverwrites(Function):
    @staticmethod
    def forward(ctx, x):
        i = torch.tensor([0, 2, 2, 5, 5, 5, 1, 0])
        ctx.save_for_backward(i)
        return x[:, i]

    @staticmethod
    def backward(ctx, g):
        (i,) = ctx.saved_tensors
        dx = torch.zeros_like(g)
        dx[:, i] = g
        return dx


class LogSumExpUnshifted(Function):
    @staticmethod
    def forward(ctx, x):
        y = x.logsumexp(-1, keepdim=True)
        ctx.save_for_backward(x)
        return x - y

    @staticmethod
    def backward(ctx, g):
        (x,) = ctx.saved_tensors
        return g - x.softmax(-1)


class OneBuffer(Function):
    """Hands out the same memory at every call."""

    buffer = None

    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x.square()

    @staticmethod
    def backward(ctx, g):
        (x,) = ctx.saved_tensors
        if OneBuffer.buffer is None or OneBuffer.buffer.dtype != x.dtype:
            OneBuffer.buffer = torch.empty_like(x)
        torch.mul(g, 2 * x, out=OneBuffer.buffer)
        return OneBuffer.buffer


class WritesSaved(Function):
    @staticmethod
    def forward(ctx, x):
        y = x.sigmoid()
        ctx.save_for_backward(y)
        return y

    @staticmethod
    def backward(ctx, g):
        (y,) = ctx.saved_tensors
        y.mul_(1 - y)
        return g * y


for _function, _words in (
    (BatchNormFrozen, "not the derivative"),
    (CumulativeBackwards, "not the derivative"),
    (GatherOverwrites, "not the derivative"),
    (LogSumExpUnshifted, "not the derivative"),
    (OneBuffer, "OneBuffer"),
    (WritesSaved, "backward"),
):
    WRONG[_function.__name__] = with_function(_function.apply), _words


# -- a third set, by the same rule


@right
def losses_of_rows_under_vmap():
    model = net(6, 8, 3)

    def loss(m):
        x, y = batch()
        named = dict(m.named_parameters())

        def one(a, b):
            return F.cross_entropy(torch.func.functional_call(m, named, a[None]), b[None])

        return torch.vmap(one)(x, y).mean()

    return loop(model, loss)


@right
def adjoint_of_an_equation():
    class Adjoint(Function):
        @staticmethod
        def forward(ctx, f, x, *params):
            ctx.f, ctx.params, z = f, params, [x]
            for _ in range(5):
                z.append(z[-1] + 0.1 * f(z[-1]))
            ctx.save_for_backward(*z)
            return z[-1]

        @staticmethod
        def backward(ctx, g):
            total = [torch.zeros_like(p) for p in ctx.params]
            for z in reversed(ctx.saved_tensors[:-1]):
                with torch.enable_grad():
                    z = z.detach().requires_grad_()
                    y = z + 0.1 * ctx.f(z)
                g, *each = torch.autograd.grad(y, (z, *ctx.params), g)
                total = [a + b for a, b in zip(total, each, strict=True)]
            return None, g, *total

    model = nn.ModuleList([net(6, 8, 6), nn.Linear(6, 3)])

    def loss(m):
        x, y = batch()
        return F.cross_entropy(m[1](Adjoint.apply(m[0], x, *m[0].parameters())), y)

    return loop(model, loss)


@right
def centres_moved_through_data():
    model, centres = net(6, 8, 3), torch.zeros(3, 8)

    def loss(m):
        x, y = batch()
        h = m[1](m[0](x))
        total = F.cross_entropy(m[2](h), y) + 0.1 * (h - centres[y]).square().mean()
        for k in range(3):
            if (y == k).any():
                centres[k] = 0.9 * centres[k] + 0.1 * h.data[y == k].mean(0)
        return total

    return loop(model, loss)


@right
def gradients_centred_and_noisy():
    def body(m, o):
        o.zero_grad()
        classify(m).backward()
        for p in m.parameters():
            if p.dim() > 1:
                p.grad.sub_(p.grad.mean(1, keepdim=True))
            p.grad.add_(0.01 * torch.randn_like(p.grad))
        o.step()

    return stepper(net(6, 8, 3), body)


@wrong("item(), float() or tolist()")
def entropy_through_numpy():
    def loss(m):
        x, y = batch()
        z = m(x)
        entropy = torch.distributions.Categorical(logits=z).entropy().mean()
        return F.cross_entropy(z, y) - 0.1 * float(entropy.detach().numpy())

    return loop(net(6, 8, 3), loss)


@wrong("in no optimizer")
def model_copied_after_the_optimizer():
    model = net(6, 8, 3)
    optimizer = torch.optim.Adam(model.parameters(), 1e-3)
    return stepper(
        copy.deepcopy(model),
        lambda m, o: (o.zero_grad(), classify(m).backward(), o.step()),
        optimizer,
    )


@wrong("scaled twice")
def shared_weight_clipped_twice():
    model = nn.ModuleList([nn.Linear(6, 6), nn.Linear(6, 6), nn.Linear(6, 3)])
    model[1].weight = model[0].weight

    def body(m, o):
        x, y = batch()
        o.zero_grad()
        F.cross_entropy(m[2](m[1](m[0](x).tanh()).tanh()), y).backward()
        nn.utils.clip_grad_norm_([p for layer in m for p in layer.parameters()], 0.05)
        o.step()

    return stepper(model, body)
