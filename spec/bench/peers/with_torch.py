"""PyTorch: eager, channels_last, torch.compile, bf16 autocast."""
import math

import protocol

out = protocol.open_lines()
threads = protocol.threads()
with protocol.needed(out):
    import numpy as np
    import torch
    from torch import nn
    from torch.nn import functional as F

    from torch_nets import conv_decoder, conv_encoder, dcgan_decoder, dcgan_encoder, fill, mlp

torch.set_num_threads(threads)
torch.set_num_interop_threads(1)
torch.manual_seed(1)


class Form:
    """How a form runs a network: where its memory lies, what compiles it, in which precision."""

    def __init__(self, name):
        self.last = name in ("channels_last", "compile_last", "bf16")
        self.compiled = name in ("compile", "compile_last")
        self.bf16 = name == "bf16"

    def net(self, net):
        return net.to(memory_format=torch.channels_last) if self.last else net

    def data(self, x):
        return x.contiguous(memory_format=torch.channels_last) if self.last and x.ndim == 4 else x

    def function(self, f):
        if self.compiled:
            return torch.compile(f)
        if self.bf16:
            def cast(*inputs):
                with torch.autocast("cpu", dtype=torch.bfloat16):
                    return f(*inputs)
            return cast
        return f


# ---- the posterior ------------------------------------------------------------------------------------


def posterior(heads):
    """Mean and standard deviation of the code, as simvae's encoder means them where it is bounded by tanh."""
    return torch.tanh(heads[:, :4]), deviation(heads)


def deviation(heads):
    return torch.exp(torch.clamp(heads[:, 4:] - 1, -7, 1))


# ---- workloads ----------------------------------------------------------------------------------------


class Training:
    """Steps over prepared batches: loss(batch number, noise) -> a number; check: losses with given noise."""

    def __init__(self, params, loss, batches, noises):
        self.optimizer = torch.optim.Adam(params, lr=1e-3, fused=True)
        self.loss, self.batches, self.noises, self.next = loss, batches, noises, 0

    def step(self, i, noise):
        self.optimizer.zero_grad(set_to_none=True)
        loss = self.loss(i, noise)
        loss.backward()
        self.optimizer.step()
        return loss

    def check(self):
        return [self.step(0, noise).item() for noise in self.noises]

    def run(self, steps):
        for _ in range(steps):
            self.next = (self.next + 1) % self.batches
            self.step(self.next, None)


def stage1(width, form, arrays):
    net = form.net(fill(dcgan_decoder(width), arrays, "decoder.")).train()
    code = torch.from_numpy(arrays["code"])
    x = [form.data(b) for b in torch.from_numpy(arrays["x"])]
    f = form.function(lambda c, target: F.binary_cross_entropy_with_logits(net(c), target))
    return Training(net.parameters(), lambda i, _: f(code[i], x[i]), len(x), [None] * 4)


def stage2(width, form, arrays):
    decoder = form.net(fill(dcgan_decoder(width), arrays, "decoder.")).eval().requires_grad_(False)
    encoder = form.net(fill(dcgan_encoder(width), arrays, "encoder.")).train()
    x = [form.data(b) for b in torch.from_numpy(arrays["x"])]
    noises = list(torch.from_numpy(arrays["noise"]))

    def loss(x, noise):
        mean, std = posterior(encoder(x).float())
        return F.binary_cross_entropy_with_logits(decoder(mean + std * noise), x)

    f = form.function(loss)
    return Training(encoder.parameters(), lambda i, noise: f(x[i], torch.randn(64, 4) if noise is None else noise),
                    len(x), noises)


def relative_errors(picture, x, least=4):
    """Absolute errors as a share of the ink of both pictures."""
    total = (picture + x).flatten(1)
    if x.mean() > 0.5:
        total = 2 - total
    apart = (picture - x).abs().flatten(1).sum(1)
    return (2 * apart / (total.sum(1) + apart + least)).mean()


class Whole:
    """Both stages of the default recipe (lua/simvae/recipes.lua): the net "conv", batches as they are fed."""

    def __init__(self, form, arrays):
        self.form = form
        self.decoder = form.net(fill(conv_decoder(16), arrays, "decoder.")).train()
        self.encoder = form.net(fill(conv_encoder(16), arrays, "encoder.")).train()
        self.budget = [int(n) for n in arrays["budget"]]
        self.peaks, self.warmups, self.pull = arrays["peaks"], arrays["warmups"], float(arrays["pull"][0])
        self.prior = torch.from_numpy(arrays["prior"])
        # given in a check: with them the steps are the same as simvae's
        self.noises, self.directions = arrays.get("noise"), arrays.get("directions")
        self.code = self.x = None
        if "x" in arrays:
            self.take(arrays)
        self.begin(0)

    def begin(self, stage):
        net = (self.decoder, self.encoder)[stage]
        self.stage, self.done, self.norm = stage, 0, None
        self.params, self.peak = list(net.parameters()), float(self.peaks[stage])
        self.optimizer = torch.optim.Adam(self.params, lr=self.peak, fused=True)
        if stage == 1:
            self.decoder.eval().requires_grad_(False)

    def take(self, arrays):
        self.code = list(torch.from_numpy(arrays["code"]))
        self.x = [self.form.data(b) for b in torch.from_numpy(arrays["x"])]
        self.next = 0

    def feed(self, file):
        self.take(dict(np.load(file)))

    def lr(self):
        """Of step self.done: half a cosine after a linear rise."""
        total = self.budget[self.stage]
        rise = min(int(self.warmups[self.stage]), total)
        if self.done <= rise:
            return self.peak * self.done / rise
        return self.peak * 0.5 * (1 + math.cos(math.pi * (self.done - rise - 1) / max(1, total - rise - 1)))

    def clip(self):
        """At twice the running average of the gradients' norm."""
        grads = [p.grad for p in self.params]
        norm = torch.nn.utils.get_total_norm(grads).item()
        most = math.inf if self.norm is None else 2 * self.norm
        if norm > most:
            torch._foreach_mul_(grads, most / norm)
            norm = most
        self.norm = norm if self.norm is None else self.norm + 0.02 * (norm - self.norm)

    def decoder_loss(self, code, x):
        return F.binary_cross_entropy_with_logits(self.decoder(code), x)

    def encoder_loss(self, x):
        at = self.done - 1
        heads = self.encoder(x)
        raw = heads[:, :4]
        mean = raw + (torch.clamp(raw, -1, 1) - raw).detach()
        noise = torch.randn(64, 4) if self.noises is None else torch.from_numpy(self.noises[at])
        picture = torch.sigmoid(self.decoder(mean + deviation(heads) * noise))
        loss, off = relative_errors(picture, x), picture - x
        coarse = 0
        for _ in range(4):
            off = F.avg_pool2d(off, 2)
            coarse = coarse + off.square().mean()
        loss = loss + 4 * coarse
        weight = self.pull * max(0, 1 - 2 * self.done / self.budget[1])
        if weight > 0:
            random = torch.randn(4, 32) if self.directions is None else torch.from_numpy(self.directions[at])
            all = torch.cat((random / random.square().sum(0, keepdim=True).sqrt(), torch.eye(4)), 1)
            ours, prior = (mean @ all).sort(0).values, (self.prior[at] @ all).sort(0).values
            loss = loss + weight * (ours - prior).square().mean()
        outside = F.relu(raw.abs() - 1)
        return loss + F.huber_loss(outside, torch.zeros_like(outside), delta=1.0) * 2

    def step(self):
        if self.done == self.budget[self.stage]:
            self.begin(self.stage + 1)
        self.done += 1
        self.optimizer.param_groups[0]["lr"] = self.lr()
        self.optimizer.zero_grad(set_to_none=True)
        code, x = self.code[self.next], self.x[self.next]
        self.next += 1
        loss = self.encoder_loss(x) if self.stage else self.decoder_loss(code, x)
        loss.backward()
        self.clip()
        self.optimizer.step()
        return loss

    def run(self, steps):
        for _ in range(steps):
            self.step()

    def check(self):
        return [self.step().item() for _ in range(self.budget[0] + len(self.noises))]

    def infer(self, pictures, file):
        """Means in the simulator's units, pixels of 64."""
        with torch.inference_mode(), open(pictures, "rb") as source, open(file, "wb") as to:
            parts = torch.from_numpy(np.load(source)["x"])
            means = torch.cat([self.encoder(self.form.data(x))[:, :4].clamp(-1, 1) for x in parts])
            np.save(to, (means.numpy() + 1) * 32)


def train_mlp(form, arrays):
    net = fill(mlp(), arrays, "decoder.")
    code, x = torch.from_numpy(arrays["code"]), torch.from_numpy(arrays["x"])
    f = form.function(lambda c, target: F.mse_loss(net(c), target))
    return Training(net.parameters(), lambda i, _: f(code[i], x[i]), len(x), [None] * 4)


def encode(form, arrays):
    net = form.net(fill(dcgan_encoder(32), arrays, "encoder.")).eval()
    x = form.data(torch.from_numpy(arrays["x"]))
    low, high = torch.from_numpy(arrays["low"]), torch.from_numpy(arrays["high"])

    def units(x):
        mean, std = posterior(net(x))
        half = (high - low) / 2
        return low + (mean + 1) * half, std * half

    f = form.function(units)

    def step():
        with torch.inference_mode():
            return f(x)

    return protocol.Calls(step, lambda: [v.double().mean().item() for t in step() for v in t.T])


def convolutions(form, arrays):
    x, g = (form.data(torch.from_numpy(arrays[name])) for name in ("x", "g"))
    w = [form.data(torch.from_numpy(k)).requires_grad_() for k in arrays["w"]]

    def step():
        y = x
        for k in w:
            k.grad = None
            y = F.relu(F.conv2d(y, k, padding=1), inplace=True)
        y.backward(g)
        return y

    def check():
        return [(step() * g).double().sum().item()] + [k.grad.square().sum().item() for k in w]

    return protocol.Calls(step, check)


def product(workload):
    a, b, c = (torch.rand(*shape) for shape in protocol.product_shapes(workload))
    a, b = a.T if workload.endswith("-at") else a, b.T if workload.endswith("-bt") else b
    return protocol.Calls(lambda: torch.mm(a, b, out=c))


def single_op(name):
    n = 1024
    x, row, column = (torch.rand(*shape, requires_grad=True) for shape in ((n, n), (n,), (n, 1)))
    index = torch.randint(0, n, (n, n))
    op = {"softmax": lambda: x.softmax(1), "log-softmax": lambda: x.log_softmax(1),
          "cross-entropy": lambda: F.cross_entropy(x, index[0]), "logsumexp": lambda: x.logsumexp(1),
          "max": lambda: x.max(1)[0], "layer-norm": lambda: F.layer_norm(x, (n,), row, row),
          "transpose": lambda: x.T.contiguous(), "gather": lambda: x.gather(1, index),
          "expand": lambda: column.expand(n, n).contiguous(), "sin": lambda: x.sin(),
          "atan2": lambda: torch.atan2(x, row)}[name]

    def step():
        for leaf in (x, row, column):
            leaf.grad = None
        op().sum().backward()

    return protocol.Calls(step)


def load(workload, name, file):
    if workload == "sgemm" or workload.startswith("gemm-"):
        return product(workload)
    if workload.startswith("random-"):
        ones = torch.ones(1000000)
        draw = {"uniform": lambda: torch.rand(1000000), "normal": lambda: torch.randn(1000000),
                "dropout": lambda: F.dropout(ones, 0.1)}
        return protocol.Calls(draw[workload.partition("-")[2]])
    if workload.startswith("op-"):
        return single_op(workload[len("op-"):])
    form = Form(name)
    arrays = dict(np.load(file))
    kind, _, size = workload.partition("-")
    if kind in ("stage1", "stage2"):
        return (stage1 if kind == "stage1" else stage2)(int(size), form, arrays)
    if kind == "whole":
        return Whole(form, arrays)
    if kind == "mlp":
        return train_mlp(form, arrays)
    if kind == "encode":
        return encode(form, arrays)
    if kind == "convolutions":
        return convolutions(form, arrays)
    raise ValueError("no such workload: " + workload)


protocol.serve("PyTorch " + torch.__version__ + " (" + torch.backends.cpu.get_cpu_capability() + ")", load, out,
               torch.compiler.reset)
