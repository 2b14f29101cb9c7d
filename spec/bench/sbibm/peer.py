"""sbi: neural posterior estimation (NPE) with a neural spline flow, its defaults, on the same simulations.

The protocol is that of ../peers/protocol.py: `load TASK nsf FILE` reads arrays z and x, `run` trains once, `infer FILE
TO` draws 10,000 samples for each row of x_o in FILE, and `check` returns the seconds of one such draw.
"""
import os
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "peers"))
import protocol  # noqa: E402

out = protocol.open_lines()
threads = protocol.threads()
with protocol.needed(out):
    import numpy as np
    import sbi
    import torch
    from sbi.inference import NPE
    from sbi.utils import BoxUniform
    from torch.distributions import Independent, LogNormal, MultivariateNormal

torch.set_num_threads(threads)
torch.set_num_interop_threads(1)
SAMPLES = 10000  # of each posterior


def box(bound, size):
    return BoxUniform(-bound * torch.ones(size), bound * torch.ones(size))


def normal_filter():
    """The prior of bernoulli_glm: an offset of variance 2 and a filter whose second differences are small."""
    d = np.eye(9) - np.eye(9, k=-1)
    f = d @ d + np.diag(np.sqrt(np.arange(9) / 9))
    covariance = np.zeros((10, 10))
    covariance[0, 0], covariance[1:, 1:] = 2, np.linalg.inv(f.T @ f)
    return MultivariateNormal(torch.zeros(10), torch.tensor(covariance, dtype=torch.float32))


def log_normal(mean, std):
    return Independent(LogNormal(torch.tensor(mean), torch.tensor(std)), 1)


PRIORS = {
    "two_moons": lambda: box(1, 2),
    "slcp": lambda: box(3, 5),
    "gaussian_linear": lambda: MultivariateNormal(torch.zeros(10), 0.1 * torch.eye(10)),
    "gaussian_linear_uniform": lambda: box(1, 10),
    "gaussian_mixture": lambda: box(10, 2),
    "bernoulli_glm": normal_filter,
    "sir": lambda: log_normal(np.log([0.4, 0.125]).tolist(), [0.5, 0.2]),
    "lotka_volterra": lambda: log_normal([-0.125, -3.0, -0.125, -3.0], [0.5] * 4),
}


class Inference:
    """NPE of one task."""

    def __init__(self, task, file):
        arrays = np.load(file)
        self.z, self.x = (torch.tensor(arrays[name], dtype=torch.float32) for name in ("z", "x"))
        self.prior, self.seconds = PRIORS[task](), []

    def run(self, steps):
        """Trains once, whatever the number of steps: until the loss on a tenth of the simulations stops falling."""
        torch.manual_seed(int(os.environ.get("BENCH_SEED", "1")))
        trainer = NPE(self.prior, density_estimator="nsf", show_progress_bars=False)
        trainer.append_simulations(self.z, self.x).train()
        self.posterior = trainer.build_posterior()

    def infer(self, file, to):
        self.seconds, samples = [], []
        for x in torch.tensor(np.load(file), dtype=torch.float32):
            start = time.process_time()
            drawn = self.posterior.sample((SAMPLES,), x=x, show_progress_bars=False)
            self.seconds.append(time.process_time() - start)
            samples.append(drawn.numpy())
        np.save(to, np.stack(samples))

    def check(self):
        return [np.mean(self.seconds)]


protocol.serve("sbi %s, PyTorch %s" % (sbi.__version__, torch.__version__), lambda task, form, file:
               Inference(task, file), out)
