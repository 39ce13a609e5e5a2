"""Synthetic street-like images of people with exact masks, drawn only with numpy."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Labels = NDArray[np.int32]
Point = tuple[float, float]
BACKGROUND, PERSON = 0, 1
SKIN_TONES = np.array([[0.98, 0.82, 0.70], [0.87, 0.66, 0.50], [0.66, 0.46, 0.33], [0.40, 0.26, 0.18]], np.float32)


class Canvas:
    """An RGB image (height, width, 3) in [0, 1] and its label map (height, width), painted shape by shape."""

    def __init__(self, image: Floats) -> None:
        """Start from a background, labelled as such."""
        self.image = image
        self.labels: Labels = np.zeros(image.shape[:2], np.int32)

    def stamp(
        self, centre: Point, half: Point, angle: float, colour: Floats, *,
        power: float = 2.0, label: int = BACKGROUND, stripes: float = 0.0,
    ) -> None:  # fmt: skip
        """Paint |u/a|^p + |v/b|^p <= 1: an ellipse for p=2, nearly a box for p=8; people darken towards their sides.

        `centre` (x, y) and `half` (a, b) in pixels, `angle` of the u axis in radians, `stripes` in colour units.
        """
        reach = math.hypot(*half)
        left, right = (int(np.clip(centre[0] + s * reach + 0.5, 0, self.labels.shape[1])) for s in (-1, 1))
        top, bottom = (int(np.clip(centre[1] + s * reach + 0.5, 0, self.labels.shape[0])) for s in (-1, 1))
        y, x = np.ogrid[top:bottom, left:right]
        x, y, cosine, sine = x - centre[0], y - centre[1], math.cos(angle), math.sin(angle)
        u = (x * cosine + y * sine).astype(np.float32) / half[0]
        v = (y * cosine - x * sine).astype(np.float32) / half[1]
        inside = np.abs(u) ** power + np.abs(v) ** power <= 1.0
        shade = stripes * np.sin(12.0 * u[inside]) - 0.06 * v[inside] - (0.25 * v[inside] ** 2 if label else 0)
        self.image[top:bottom, left:right][inside] = colour + shade[:, None]
        self.labels[top:bottom, left:right][inside] = label

    def limb(self, start: Point, end: Point, radius: float, colour: Floats, label: int = BACKGROUND) -> None:
        """Paint a rounded bar from `start` to `end` (pixels), `radius` pixels thick to each side."""
        dx, dy = end[0] - start[0], end[1] - start[1]
        centre, half = (start[0] + dx / 2, start[1] + dy / 2), (math.hypot(dx, dy) / 2 + radius * 0.6, radius)
        self.stamp(centre, half, math.atan2(dy, dx), colour, power=4.0, label=label)


def _colour(rng: np.random.Generator) -> Floats:
    return rng.uniform(0.05, 0.95, 3).astype(np.float32)


def _smooth_noise(rng: np.random.Generator, height: int, width: int, cells: int) -> Floats:
    """Noise (height, width, 3) in [-1, 1], interpolated linearly from `cells` random values down the height."""
    across = max(2, round(cells * width / height))
    grid = rng.uniform(-1, 1, (3, cells, across))
    sizes = ((height, cells), (width, across))
    rows, columns = (np.maximum(0, 1 - np.abs(np.linspace(0, n - 1, m)[:, None] - np.arange(n))) for m, n in sizes)
    return np.asarray((rows @ grid @ columns.T).transpose(1, 2, 0), np.float32)


def _background(rng: np.random.Generator, height: int, width: int) -> Floats:
    """Return a gradient (height, width, 3) with noise of several grain sizes and, at times, bands."""
    ramp = np.linspace(0, 1, height, dtype=np.float32)[:, None, None]
    image = (1 - ramp) * _colour(rng) + ramp * _colour(rng) + np.zeros((height, width, 1), np.float32)
    for cells, strength in ((3, 0.15), (9, 0.10), (40, 0.08)):
        image += strength * rng.uniform(0, 1) * _smooth_noise(rng, height, width, cells)
    if rng.random() < 0.5:
        (y, x), angle, waves = np.ogrid[:height, :width], rng.uniform(0, math.pi), rng.uniform(4, 40)
        bands = np.sin(2 * math.pi * waves / height * (x * math.cos(angle) + y * math.sin(angle)))[..., None]
        image += (rng.uniform(0.02, 0.08) * bands).astype(np.float32)
    return image


def _distractor(rng: np.random.Generator, canvas: Canvas, scale: float) -> None:
    """Paint one thing that is not a person, about `scale` pixels large: box, ball, tree, lamp post or car."""
    x, y = rng.uniform(0, canvas.labels.shape[1]), rng.uniform(0, canvas.labels.shape[0])
    colour, other, kind = _colour(rng), _colour(rng), rng.integers(5)
    if kind < 2:
        half, stripes = (scale * rng.uniform(0.2, 0.6), scale * rng.uniform(0.2, 0.6)), rng.choice([0.0, 0.1])
        canvas.stamp((x, y), half, rng.uniform(0, math.pi), colour, power=(8.0, 2.0)[kind], stripes=stripes)
    elif kind == 2:
        canvas.limb((x, y), (x, y + scale), 0.06 * scale, np.array([0.35, 0.24, 0.14], np.float32))
        canvas.stamp((x, y), (0.35 * scale, 0.4 * scale), 0.0, colour * np.array([0.3, 0.9, 0.3], np.float32))
    elif kind == 3:
        canvas.limb((x, y), (x, y + 1.5 * scale), 0.03 * scale, colour)
        canvas.stamp((x, y), (0.08 * scale, 0.08 * scale), 0.0, other)
    else:
        canvas.stamp((x, y - 0.2 * scale), (0.35 * scale, 0.2 * scale), 0.0, other, power=4.0)
        canvas.stamp((x, y), (0.7 * scale, 0.18 * scale), 0.0, colour, power=6.0)
        for side in (-0.4, 0.4):
            canvas.stamp((x + side * scale, y + 0.18 * scale), (0.12 * scale, 0.12 * scale), 0.0, other * 0.2)


def _person(rng: np.random.Generator, canvas: Canvas, feet: Point, size: float) -> None:
    """Paint one person `size` pixels tall, standing, walking or waving, with the feet near `feet` (x, y)."""
    skin = SKIN_TONES[rng.integers(len(SKIN_TONES))] * rng.uniform(0.9, 1.0)
    shirt, trousers, hair = _colour(rng), _colour(rng), _colour(rng) * 0.4
    lean, broad = rng.uniform(-0.15, 0.15), size * rng.uniform(0.85, 1.25)
    sleeves = shirt if rng.random() < 0.6 else skin

    def at(side: float, up: float) -> Point:
        return feet[0] + side * broad + up * size * math.sin(lean), feet[1] - up * size * math.cos(lean)

    def chain(start: Point, length: float, radius: float, *, swing: float, bend: float, colours: list[Floats]) -> None:
        for turn, colour in zip((swing, swing + bend), colours, strict=True):
            end = (start[0] + length * size * math.sin(turn), start[1] + length * size * math.cos(turn))
            canvas.limb(start, end, radius * broad, colour, PERSON)
            start = end
        canvas.stamp(start, (0.033 * broad, 0.033 * broad), 0.0, colours[1] * 0.3 + skin * 0.7, label=PERSON)

    for side in (-1, 1):
        swing, bend = rng.normal(side * 0.1, 0.25), rng.normal(0, 0.15)
        chain(at(side * 0.05, 0.50), 0.235, 0.047, swing=swing, bend=bend, colours=[trousers] * 2)
    canvas.limb(at(0, 0.84), at(0, 0.78), 0.04 * broad, skin, PERSON)
    torso, stripes = (0.185 * size, 0.11 * broad), rng.choice([0.0, 0.08])
    canvas.stamp(at(0, 0.64), torso, lean + math.pi / 2, shirt, power=4.0, label=PERSON, stripes=stripes)
    for side in (-1, 1):
        swing = side * abs(rng.normal(0.2, 0.4 if rng.random() < 0.8 else 1.2))
        chain(at(side * 0.10, 0.78), 0.17, 0.034, swing=swing, bend=rng.normal(0, 0.4), colours=[shirt, sleeves])
    canvas.stamp(at(0, 0.93), (0.058 * broad, 0.07 * size), lean, hair, label=PERSON)
    canvas.stamp(at(0, 0.915), (0.048 * broad, 0.055 * size), lean, skin, label=PERSON)


def _scene(rng: np.random.Generator, height: int, width: int) -> tuple[Floats, Labels]:
    """Return one image (height, width, 3) in [0, 1] and its labels: clutter, up to four people, occluders."""
    canvas = Canvas(_background(rng, height, width))
    for scale in rng.uniform(0.1, 0.5, rng.integers(6, 15)):
        _distractor(rng, canvas, scale * height)
    for size in np.sort(rng.uniform(0.35, 0.9, rng.choice(5, p=[0.08, 0.36, 0.32, 0.16, 0.08]))) * height:
        feet = (rng.uniform(0.05, 0.95) * width, rng.uniform(0.9 * size, max(0.98 * height, 0.95 * size)))
        _person(rng, canvas, feet, size)
    for scale in rng.uniform(0.08, 0.2, rng.integers(0, 3)):
        _distractor(rng, canvas, scale * height)
    light = 1 + 0.15 * _smooth_noise(rng, height, width, 2)[..., :1]
    grain = rng.uniform(0.005, 0.03) * rng.standard_normal(canvas.image.shape, np.float32)
    return np.clip(canvas.image * light + grain, 0, 1), canvas.labels


def synthetic_batch(count: int, height: int, width: int, seed: int) -> tuple[Floats, Labels]:
    """Draw `count` images (count, 3, height, width) in [0, 1] and masks (count, height, width), 1 where a person is.

    Image i depends only on (seed, i, height, width); its values are whole multiples of 1/255, as a camera's are.
    """
    scenes = [_scene(np.random.default_rng([seed, index]), height, width) for index in range(count)]
    images = np.stack([image.transpose(2, 0, 1) for image, _ in scenes])
    return (np.round(images * 255) / 255).astype(np.float32), np.stack([labels for _, labels in scenes])
