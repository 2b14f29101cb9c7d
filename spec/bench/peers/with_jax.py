"""JAX: one jitted function a step, with donated buffers; images as NHWC, which XLA prefers on a CPU."""
import protocol

out = protocol.open_lines()
threads = protocol.threads()
with protocol.needed(out):
    import jax
    import jax.numpy as jnp
    import numpy as np
    from jax import lax

NHWC = ("NHWC", "HWIO", "NHWC")


# ---- layers -------------------------------------------------------------------------------------------


def conv(x, w):
    return lax.conv_general_dilated(x, w, (2, 2), ((1, 1), (1, 1)), dimension_numbers=NHWC)


def conv_transpose(x, w):
    """w is turned over beforehand (weights())."""
    return lax.conv_general_dilated(x, w, (1, 1), ((2, 2), (2, 2)), lhs_dilation=(2, 2), dimension_numbers=NHWC)


def batch_norm(x, p, stats, training):
    """-> y, new running statistics"""
    if training:
        mean, var = x.mean((0, 1, 2)), x.var((0, 1, 2))
        n = x.size // x.shape[-1]
        stats = {"mean": 0.9 * stats["mean"] + 0.1 * mean, "var": 0.9 * stats["var"] + 0.1 * var * (n / (n - 1))}
    else:
        mean, var = stats["mean"], stats["var"]
    return (x - mean) * (lax.rsqrt(var + 1e-5) * p["weight"]) + p["bias"], stats


def leaky_relu(x):
    return jnp.where(x > 0, x, 0.2 * x)


def decoder(p, stats, code, training):
    x = (code @ p["1"]["weight"].T).reshape(code.shape[0], -1, 4, 4).transpose(0, 2, 3, 1)
    new = {}
    x, new["3"] = batch_norm(x, p["3"], stats["3"], training)
    x = jax.nn.relu(x)
    for k in (5, 8, 11):
        x = conv_transpose(x, p[str(k)]["weight"])
        x, new[str(k + 1)] = batch_norm(x, p[str(k + 1)], stats[str(k + 1)], training)
        x = jax.nn.relu(x)
    return conv_transpose(x, p["14"]["weight"]) + p["14"]["bias"], new


def encoder(p, stats, x, training):
    x = leaky_relu(conv(x, p["1"]["weight"]) + p["1"]["bias"])
    new = {}
    for k in (3, 6, 9):
        x = conv(x, p[str(k)]["weight"])
        x, new[str(k + 1)] = batch_norm(x, p[str(k + 1)], stats[str(k + 1)], training)
        x = leaky_relu(x)
    x = x.transpose(0, 3, 1, 2).reshape(x.shape[0], -1)
    return x @ p["13"]["weight"].T + p["13"]["bias"], new


def mlp(p, code):
    x = code
    for k in (1, 3, 5):
        x = jax.nn.gelu(x @ p[str(k)]["weight"].T + p[str(k)]["bias"], approximate=False)
    return x @ p["7"]["weight"].T + p["7"]["bias"]


def posterior(heads):
    return jnp.tanh(heads[:, :4]), jnp.exp(jnp.clip(heads[:, 4:] - 1, -7, 1))


def bce_with_logits(logits, target):
    return jnp.mean(jnp.maximum(logits, 0) - logits * target + jnp.log1p(jnp.exp(-jnp.abs(logits))))


# ---- weights and optimizer --------------------------------------------------------------------------------


def weights(arrays, prefix):
    """Parameters and running statistics by layer; kernels as HWIO, those of transposed convolutions turned over."""
    params, stats = {}, {}
    for name, value in arrays.items():
        if not name.startswith(prefix):
            continue
        layer, part = name[len(prefix):].rsplit(".", 1)
        if value.ndim == 4:
            value = value.transpose(2, 3, 0, 1)[::-1, ::-1] if prefix == "decoder." else value.transpose(2, 3, 1, 0)
        into, part = (stats, part[len("running_"):]) if part.startswith("running_") else (params, part)
        into.setdefault(layer, {})[part] = jnp.array(value)
    return params, stats


def adam(params, grads, m, v, t):
    """Kingma and Ba, 2015, with lr 1e-3 and the usual constants."""
    step = jax.tree_util.tree_map
    m = step(lambda a, g: 0.9 * a + 0.1 * g, m, grads)
    v = step(lambda a, g: 0.999 * a + 0.001 * g * g, v, grads)
    c1, c2 = 1 - 0.9 ** t, 1 - 0.999 ** t
    params = step(lambda p, a, b: p - 1e-3 * (a / c1) / (jnp.sqrt(b / c2) + 1e-8), params, m, v)
    return params, m, v


class Training:
    """loss(params, stats, batch, noise) -> loss, new stats; noise: drawn within the step unless given."""

    def __init__(self, loss, params, stats, batches, noises):
        def step(state, batch, noise):
            key, own = jax.random.split(state["key"])
            if noise is None:
                noise = jax.random.normal(own, (64, 4))
            (value, new), grads = jax.value_and_grad(loss, has_aux=True)(state["params"], state["stats"], batch, noise)
            t = state["t"] + 1
            params, m, v = adam(state["params"], grads, state["m"], state["v"], t)
            return {"params": params, "stats": new, "m": m, "v": v, "t": t, "key": key}, value

        def zeros():
            return jax.tree_util.tree_map(jnp.zeros_like, params)

        self.state = {"params": params, "stats": stats, "m": zeros(), "v": zeros(), "t": jnp.float32(0),
                      "key": jax.random.key(1)}
        self.step, self.batches, self.noises, self.next = jax.jit(step, donate_argnums=0), batches, noises, 0

    def check(self):
        losses = []
        for noise in self.noises:
            self.state, value = self.step(self.state, self.batches[0], noise)
            losses.append(float(value))
        return losses

    def run(self, steps):
        for _ in range(steps):
            self.next = (self.next + 1) % len(self.batches)
            self.state, value = self.step(self.state, self.batches[self.next], None)
        value.block_until_ready()
        jax.block_until_ready(self.state)


# ---- workloads --------------------------------------------------------------------------------------------


def images(x):
    return jnp.array(np.moveaxis(x, -3, -1))


def stage1(arrays):
    params, stats = weights(arrays, "decoder.")
    batches = [(jnp.array(c), images(x)) for c, x in zip(arrays["code"], arrays["x"])]

    def loss(p, s, batch, _):
        logits, new = decoder(p, s, batch[0], True)
        return bce_with_logits(logits, batch[1]), new

    return Training(loss, params, stats, batches, [None] * 4)


def stage2(arrays):
    frozen, running = weights(arrays, "decoder.")
    params, stats = weights(arrays, "encoder.")
    batches = [(images(x), frozen, running) for x in arrays["x"]]

    def loss(p, s, batch, noise):
        x, frozen, running = batch
        heads, new = encoder(p, s, x, True)
        mean, std = posterior(heads)
        logits, _ = decoder(frozen, running, mean + std * noise, False)
        return bce_with_logits(logits, x), new

    return Training(loss, params, stats, batches, [jnp.array(n) for n in arrays["noise"]])


def train_mlp(arrays):
    params, _ = weights(arrays, "decoder.")
    batches = [(jnp.array(c), jnp.array(x)) for c, x in zip(arrays["code"], arrays["x"])]

    def loss(p, s, batch, _):
        return jnp.mean((mlp(p, batch[0]) - batch[1]) ** 2), s

    return Training(loss, params, {}, batches, [None] * 4)


def encode(arrays):
    params, stats = weights(arrays, "encoder.")
    x, low, high = images(arrays["x"]), jnp.array(arrays["low"]), jnp.array(arrays["high"])

    @jax.jit
    def units(p, s, x):
        mean, std = posterior(encoder(p, s, x, False)[0])
        half = (high - low) / 2
        return low + (mean + 1) * half, std * half

    def step():
        return jax.block_until_ready(units(params, stats, x))

    return protocol.Calls(step, lambda: [float(v.mean()) for t in step() for v in t.T])


def load(workload, form, file):
    arrays = dict(np.load(file))
    kind = workload.partition("-")[0]
    return {"stage1": stage1, "stage2": stage2, "mlp": train_mlp, "encode": encode}[kind](arrays)


protocol.serve("JAX " + jax.__version__, load, out)
