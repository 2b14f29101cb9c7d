"""Matplotlib (Agg) drawing the simulators' figures.

figure   a figure whose artists are made once and moved for each sample: what a careful user writes
agg      the renderer alone, without figure, axes and artists: the least that Agg takes

Sprites are antialiased here: without, Agg sets every pixel that a figure touches.
"""
import protocol

out = protocol.open_lines()
protocol.threads()
with protocol.needed(out):
    import matplotlib
    import numpy as np

    matplotlib.use("Agg")
    from matplotlib.backends.backend_agg import FigureCanvasAgg, RendererAgg
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D
    from matplotlib.patches import Polygon
    from matplotlib.path import Path
    from matplotlib.transforms import Affine2D

SIDE = 64
T = np.linspace(0, 1, 257)
WAVES = np.stack([np.cos(2 * np.pi * k * T) for k in range(6)] + [np.sin(2 * np.pi * k * T) for k in range(1, 6)])
_t = np.linspace(0, 2 * np.pi, 155)[:-1]
_c = np.cos
SPRITES = {
    1: 9.598 * np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]]),
    2: np.stack([12.77 * np.cos(_t), 7.21 * np.sin(_t)], 1),
    3: np.stack([9.6 * np.sin(_t) ** 3,
                 -0.6622 * (13 * _c(_t) - 5 * _c(2 * _t) - 2 * _c(3 * _t) - _c(4 * _t)) - 1.438], 1),
}


def box(z):
    w, h, x, y = z
    cx, cy = x + w / 2, y + h / 2
    return (np.array([[x, y], [x + w, y], [x + w, y + h], [x, y + h]]),
            [np.array([[cx - 3, cy - 3], [cx + 3, cy + 3]]), np.array([[cx - 3, cy + 3], [cx + 3, cy - 3]])])


def curve(z):
    return np.stack([SIDE * T, SIDE / 2 + SIDE / 12 * (z @ WAVES)], 1)


def sprite(z):
    shape, scale, angle, px, py = z
    s, c = np.sin(angle), np.cos(angle)
    xy = scale * SPRITES[round(shape)] @ np.array([[c, -s], [s, c]])  # counter-clockwise on the screen, y down
    return np.stack([16 + 32 * px + xy[:, 0], SIDE - (16 + 32 * py + xy[:, 1])], 1)


class InFigure:
    def __init__(self, kind):
        self.kind = kind
        self.figure = Figure(figsize=(SIDE / 72, SIDE / 72), dpi=72)
        self.canvas = FigureCanvasAgg(self.figure)
        self.axes = self.figure.add_axes((0, 0, 1, 1))
        self.axes.set(xlim=(0, SIDE), ylim=(0, SIDE))
        self.axes.axis("off")
        if kind == "fourier":
            self.lines = [self.axes.add_line(Line2D([], [], color="black", lw=1.5))]
            return
        white = kind == "dsprites"
        if white:
            self.figure.set_facecolor("black")
        self.fill = self.axes.add_patch(Polygon(np.zeros((3, 2)), lw=0, fc="white" if white else "black", snap=False))
        if kind == "box":
            self.lines = [self.axes.add_line(Line2D([], [], color=(0, 0, 1), lw=1, solid_capstyle="butt",
                                                   snap=False))
                          for _ in range(2)]

    def draw(self, z):
        if self.kind == "fourier":
            self.lines[0].set_data(*curve(z).T)
        elif self.kind == "box":
            rectangle, strokes = box(z)
            self.fill.set_xy(rectangle)
            for line, stroke in zip(self.lines, strokes):
                line.set_data(*stroke.T)
        else:
            self.fill.set_xy(z.reshape(4, 2) if self.kind == "polygon" else sprite(z))
        self.canvas.draw()
        pixels = np.asarray(self.canvas.buffer_rgba())
        return pixels[..., :3].transpose(2, 0, 1) if self.kind == "box" else pixels[None, ..., 0]


class WithAgg:
    GROUND = Path([[0, 0], [SIDE, 0], [SIDE, SIDE], [0, SIDE], [0, 0]], closed=True)

    def __init__(self, kind):
        self.kind = kind
        self.renderer = RendererAgg(SIDE, SIDE, 72)
        self.gc = self.renderer.new_gc()
        self.gc.set_snap(False)
        self.gc.set_capstyle("butt")
        self.identity = Affine2D()

    def path(self, xy, width, stroke, fill, closed):
        self.gc.set_linewidth(width)
        self.gc.set_foreground(stroke)
        if closed:
            xy = np.concatenate([xy, xy[:1]])
        self.renderer.draw_path(self.gc, Path(xy), self.identity, fill)

    def draw(self, z):
        white, black, blue = (1.0, 1.0, 1.0), (0.0, 0.0, 0.0), (0.0, 0.0, 1.0)
        kind = self.kind
        self.renderer.clear()
        self.gc.set_linewidth(0)
        self.renderer.draw_path(self.gc, self.GROUND, self.identity, black if kind == "dsprites" else white)
        if kind == "fourier":
            self.path(curve(z), 1.5, black, None, False)
        elif kind == "box":
            rectangle, strokes = box(z)
            self.path(rectangle, 0, black, black, True)
            for stroke in strokes:
                self.path(stroke, 1, blue, None, False)
        elif kind == "polygon":
            self.path(z.reshape(4, 2), 0, black, black, True)
        else:
            self.path(sprite(z), 0, white, white, True)
        pixels = np.asarray(self.renderer.buffer_rgba())
        return pixels[..., :3].transpose(2, 0, 1) if kind == "box" else pixels[None, ..., 0]


class Drawing:
    """A step draws the batch of 64 as numbers in [0, 1], as a training step needs it."""

    def __init__(self, kind, form, z):
        self.z = z.astype(np.float64)
        self.how = (InFigure if form == "figure" else WithAgg)(kind)
        self.images = np.empty((len(z), 3 if kind == "box" else 1, SIDE, SIDE), np.float32)

    def run(self, steps):
        for _ in range(steps):
            for i, z in enumerate(self.z):
                np.multiply(self.how.draw(z), np.float32(1 / 255), out=self.images[i])

    def check(self):
        self.run(1)
        return self.images.mean((1, 2, 3), dtype=np.float64)


def load(workload, form, file):
    return Drawing(workload.partition("-")[2], form, np.load(file)["z"])


protocol.serve("Matplotlib " + matplotlib.__version__, load, out)
