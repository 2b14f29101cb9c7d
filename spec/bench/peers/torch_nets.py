"""simvae's networks in PyTorch, filled with its weights."""
import torch
from torch import nn

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


def conv_decoder(width, hidden=256):
    def up(a, b):
        return nn.ConvTranspose2d(a, b, 4, 2, 1)

    w = width
    return nn.Sequential(
        nn.Linear(4, hidden), nn.SiLU(), nn.Linear(hidden, hidden), nn.SiLU(), nn.Linear(hidden, hidden), nn.SiLU(),
        nn.Linear(hidden, 128 * w), nn.SiLU(), nn.Unflatten(1, (8 * w, 4, 4)),
        up(8 * w, 4 * w), nn.SiLU(), up(4 * w, 2 * w), nn.SiLU(), up(2 * w, w), nn.SiLU(), up(w, 3))


def conv_encoder(width, hidden=256):
    def down(a, b):
        return nn.Conv2d(a, b, 4, 2, 1)

    w = width
    return nn.Sequential(
        down(3, w), nn.LeakyReLU(0.2, True), down(w, 2 * w), nn.LeakyReLU(0.2, True),
        down(2 * w, 4 * w), nn.LeakyReLU(0.2, True), down(4 * w, 8 * w), nn.LeakyReLU(0.2, True),
        nn.Flatten(), nn.Linear(128 * w, hidden), nn.LeakyReLU(0.2, True), nn.Linear(hidden, 8))


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
