"""PyTorch: eager, channels_last, torch.compile, bf16 autocast."""
import protocol

out = protocol.open_lines()
threads = protocol.threads()
try:
    import numpy as np
    import torch
    from torch import nn
    from torch.nn import functional as F
except ImportError as error:
    print("missing\t" + protocol.one_line(error), file=out, flush=True)
    raise SystemExit from None

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


# ---- networks: layer k of simvae's sequential is entry k - 1 here -----------------------------------


def dcgan_decoder(width):
    def up(a, b):
        return nn.ConvTranspose2d(a, b, 4, 2, 1, bias=False)

    w = width
    return nn.Sequential(
        nn.Linear(4, 128 * w, bias=False), nn.Unflatten(1, (8 * w, 4, 4)), nn.BatchNorm2d(8 * w), nn.ReLU(True),
        up(8 * w, 4 * w), nn.BatchNorm2d(4 * w), nn.ReLU(True),
        up(4 * w, 2 * w), nn.BatchNorm2d(2 * w), nn.ReLU(True),
        up(2 * w, w), nn.BatchNorm2d(w), nn.ReLU(True),
        nn.ConvTranspose2d(w, 3, 4, 2, 1))


def dcgan_encoder(width):
    def down(a, b):
        return nn.Conv2d(a, b, 4, 2, 1, bias=False)

    w = width
    return nn.Sequential(
        nn.Conv2d(3, w, 4, 2, 1), nn.LeakyReLU(0.2, True),
        down(w, 2 * w), nn.BatchNorm2d(2 * w), nn.LeakyReLU(0.2, True),
        down(2 * w, 4 * w), nn.BatchNorm2d(4 * w), nn.LeakyReLU(0.2, True),
        down(4 * w, 8 * w), nn.BatchNorm2d(8 * w), nn.LeakyReLU(0.2, True),
        nn.Flatten(), nn.Linear(128 * w, 8))


def mlp():
    return nn.Sequential(nn.Linear(3, 128), nn.GELU(), nn.Linear(128, 128), nn.GELU(),
                         nn.Linear(128, 128), nn.GELU(), nn.Linear(128, 122))


def fill(net, arrays, prefix):
    """Every weight and running statistic from simvae's file; a difference in shape raises."""
    state = {}
    for name, value in arrays.items():
        if name.startswith(prefix):
            layer, part = name[len(prefix):].rsplit(".", 1)
            state["%d.%s" % (int(layer) - 1, part)] = torch.from_numpy(value)
    for name, value in net.state_dict().items():
        if name.endswith("num_batches_tracked"):
            state[name] = value
    net.load_state_dict(state)
    return net


def posterior(heads):
    """Mean and standard deviation of the code, as simvae's encoder means them."""
    return torch.tanh(heads[:, :4]), torch.exp(torch.clamp(heads[:, 4:] - 1, -7, 1))


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


def sgemm():
    a, b = torch.rand(1536, 1536), torch.rand(1536, 1536)
    c = torch.empty(1536, 1536)
    return protocol.Calls(lambda: torch.mm(a, b, out=c))


def load(workload, name, file):
    if workload == "sgemm":
        return sgemm()
    torch.compiler.reset()
    form = Form(name)
    arrays = dict(np.load(file))
    kind, _, size = workload.partition("-")
    if kind in ("stage1", "stage2"):
        return (stage1 if kind == "stage1" else stage2)(int(size), form, arrays)
    if kind == "mlp":
        return train_mlp(form, arrays)
    if kind == "encode":
        return encode(form, arrays)
    raise ValueError("no such workload: " + workload)


protocol.serve("PyTorch " + torch.__version__ + " (" + torch.backends.cpu.get_cpu_capability() + ")", load, out)
