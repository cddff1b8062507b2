"""Scenes of coloured shapes on a background: sampled without ambiguity, drawn, and spoilt as a camera would.

A scene lives in fractions of the picture (x to the right, y down, both 0..1), because the image processor squeezes any
picture to a square: what is left, above or far apart in fractions stays so whatever the picture's aspect.
Every sampling decision comes from one numpy Generator, so a seed names a picture for good.
"""

from __future__ import annotations

import colorsys
import io
import math
from dataclasses import dataclass, field

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

SHAPES = ("circle", "square", "triangle", "star", "cross", "ring")

# name: hue range in degrees, saturation range, value range. The ranges leave wide gaps, so that light and noise
# never carry one colour into its neighbour.
COLOURS = {
    "red": ((352, 363), (0.80, 0.95), (0.75, 0.92)),
    "orange": ((25, 31), (0.88, 1.0), (0.93, 1.0)),
    "yellow": ((51, 57), (0.80, 1.0), (0.94, 1.0)),
    "green": ((118, 145), (0.65, 0.9), (0.50, 0.70)),
    "blue": ((216, 232), (0.75, 0.95), (0.70, 0.92)),
    "purple": ((276, 290), (0.60, 0.85), (0.50, 0.68)),
    "black": ((0, 360), (0.0, 0.2), (0.04, 0.11)),
    "white": ((0, 360), (0.0, 0.03), (0.97, 1.0)),
}

# Background colours are paler than the shapes; their order here is the order in which an answer names two of them.
GROUNDS = {
    "white": ((0, 360), (0.0, 0.02), (0.96, 1.0)),
    "gray": ((0, 360), (0.0, 0.04), (0.50, 0.58)),
    "black": ((0, 360), (0.0, 0.2), (0.06, 0.12)),
    "pink": ((336, 350), (0.26, 0.38), (0.95, 1.0)),
    "light blue": ((196, 210), (0.33, 0.45), (0.93, 1.0)),
    "light green": ((96, 122), (0.32, 0.44), (0.85, 0.93)),
    "light yellow": ((50, 56), (0.40, 0.52), (0.97, 1.0)),
}
PATTERNS = ("plain", "stripes", "dots", "checks")

MIN_SHAPE_CONTRAST = 120  # Euclidean RGB distance between a shape and every colour of its background
MIN_GROUND_CONTRAST = 75
MIN_X_GAP = 0.085  # between any two centres, so that "from left to right" has one reading


@dataclass
class Thing:
    shape: str
    colour: str
    x: float
    y: float
    radius: float  # in fractions of sqrt(width * height)
    angle: float
    rgb: tuple[int, int, int]

    @property
    def name(self) -> str:
        return f"{self.colour} {self.shape}"


@dataclass
class Scene:
    width: int
    height: int
    pattern: str
    grounds: list[str]  # one name for plain, two in GROUNDS' order for stripes and checks, [base, dots] for dots
    ground_rgb: list[tuple[int, int, int]]
    things: list[Thing] = field(default_factory=list)  # from left to right


def _colour(rng: np.random.Generator, ranges) -> tuple[int, int, int]:
    (h0, h1), (s0, s1), (v0, v1) = ranges
    h, s, v = rng.uniform(h0, h1), rng.uniform(s0, s1), rng.uniform(v0, v1)
    return tuple(round(255 * c) for c in colorsys.hsv_to_rgb((h % 360) / 360, s, v))


def _distance(a, b) -> float:
    return math.dist(a, b)


def sample_scene(
    rng: np.random.Generator, hardness: float = 1.0, size: tuple[int, int] | None = None, largest: int = 400
) -> Scene:
    """A scene without ambiguity. hardness 0..1 scales how many shapes there are and how small they get."""
    if size is None:
        area_side = math.exp(rng.uniform(math.log(72), math.log(largest)))
        aspect = math.exp(rng.uniform(-0.42, 0.42))
        size = (round(area_side * math.sqrt(aspect)), round(area_side / math.sqrt(aspect)))
    width, height = size
    pattern = PATTERNS[rng.choice(4, p=[0.3, 0.25, 0.22, 0.23])]
    names = list(GROUNDS)
    while True:
        if pattern == "plain":
            grounds = [names[rng.integers(len(names))]]
        else:
            pair = rng.choice(len(names), 2, replace=False)
            if pattern != "dots":
                pair = sorted(pair)
            grounds = [names[i] for i in pair]
        ground_rgb = [_colour(rng, GROUNDS[g]) for g in grounds]
        if len(grounds) == 1 or _distance(*ground_rgb) >= MIN_GROUND_CONTRAST:
            break
    scene = Scene(width, height, pattern, grounds, ground_rgb)

    count = int(rng.choice([1, 2, 3, 4], p=[0.16, 0.28, 0.29, 0.27]))
    if hardness < 1 and rng.random() > hardness:
        count = min(count, 2)
    smallest = 0.118 + 0.03 * (1 - hardness)
    while len(scene.things) < count:
        scene.things = _place(rng, scene, count, smallest)
    scene.things.sort(key=lambda t: t.x)
    return scene


def _place(rng: np.random.Generator, scene: Scene, count: int, smallest: float) -> list[Thing]:
    """One try at placing all shapes; gives back fewer when it got stuck."""
    side = math.sqrt(scene.width * scene.height)
    # Now and then things repeat a shape or a colour, which is what makes counting a question.
    shapes = list(rng.choice(SHAPES, rng.integers(1, 4), replace=False)) if rng.random() < 0.45 else list(SHAPES)
    colours = list(rng.choice(list(COLOURS), rng.integers(2, 5), replace=False)) if rng.random() < 0.35 else list(COLOURS)
    things: list[Thing] = []
    for _ in range(count):
        for _attempt in range(40):
            colour = str(colours[rng.integers(len(colours))])
            rgb = _colour(rng, COLOURS[colour])
            if min(_distance(rgb, g) for g in scene.ground_rgb) < MIN_SHAPE_CONTRAST:
                continue
            radius = rng.uniform(smallest, 0.178)
            mx, my = radius * side / scene.width + 0.012, radius * side / scene.height + 0.012
            x, y = rng.uniform(mx, 1 - mx), rng.uniform(my, 1 - my)
            clear = all(
                abs(x - t.x) >= MIN_X_GAP
                and math.hypot((x - t.x) * scene.width, (y - t.y) * scene.height) >= (radius + t.radius) * side * 1.06
                for t in things
            )
            if clear:
                shape = str(shapes[rng.integers(len(shapes))])
                things.append(Thing(shape, colour, x, y, radius, rng.uniform(-28, 28), rgb))
                break
        else:
            return []
    return things


def _outline(shape: str, radius: float, angle: float) -> list[tuple[float, float]]:
    """The polygon of a shape around (0, 0), y down, turned by angle in degrees."""
    if shape == "square":
        s = radius * 0.84
        points = [(-s, -s), (s, -s), (s, s), (-s, s)]
    elif shape == "triangle":
        points = [(radius * 1.08 * math.sin(a), -radius * 1.08 * math.cos(a) + radius * 0.12)
                  for a in (0, 2 * math.pi / 3, 4 * math.pi / 3)]
    elif shape == "star":
        points = [((radius * 1.08 if i % 2 == 0 else radius * 0.46) * math.sin(i * math.pi / 5),
                   -(radius * 1.08 if i % 2 == 0 else radius * 0.46) * math.cos(i * math.pi / 5)) for i in range(10)]
    else:  # cross
        a, b = radius * 0.34, radius
        points = [(-a, -b), (a, -b), (a, -a), (b, -a), (b, a), (a, a), (a, b), (-a, b), (-a, a), (-b, a), (-b, -a), (-a, -a)]
    c, s = math.cos(math.radians(angle)), math.sin(math.radians(angle))
    return [(x * c - y * s, x * s + y * c) for x, y in points]


def _background(scene: Scene, rng: np.random.Generator) -> Image.Image:
    w, h = scene.width, scene.height
    if scene.pattern == "plain":
        return Image.new("RGB", (w, h), scene.ground_rgb[0])
    unit = math.sqrt(w * h) / 64  # a pixel of the 64 x 64 view
    angle = math.radians(rng.uniform(-20, 20) + (90 if rng.random() < 0.5 else 0))
    y, x = np.mgrid[0:h, 0:w].astype(np.float32)
    u = math.cos(angle) * x + math.sin(angle) * y
    v = -math.sin(angle) * x + math.cos(angle) * y
    if scene.pattern == "stripes":
        period = rng.uniform(11, 19) * unit
        wave = np.sin(2 * math.pi * (u / period + rng.random())) * period / (2 * math.pi)
    elif scene.pattern == "checks":
        period = rng.uniform(17, 28) * unit
        wave = (np.sin(2 * math.pi * (u / period + rng.random())) * np.sin(2 * math.pi * (v / period + rng.random()))
                * period / (2 * math.pi))
    else:
        period = rng.uniform(11, 17) * unit
        du, dv = (u / period + rng.random()) % 1 - 0.5, (v / period + rng.random()) % 1 - 0.5
        wave = (rng.uniform(0.27, 0.33) - np.hypot(du, dv)) * period
    mix = np.clip(wave + 0.5, 0, 1)[..., None]  # one pixel of soft edge
    a, b = (np.array(c, np.float32) for c in scene.ground_rgb)
    return Image.fromarray((a + (b - a) * mix + 0.5).astype(np.uint8))


def draw(scene: Scene, rng: np.random.Generator) -> Image.Image:
    """The clean picture, shapes drawn four times as fine and reduced."""
    picture = _background(scene, rng)
    side = math.sqrt(scene.width * scene.height)
    fine = 4 if side < 160 else 2
    for t in scene.things:
        r = t.radius * side
        cx, cy = t.x * scene.width, t.y * scene.height
        reach = math.ceil(r * 1.3) + 1
        left, top = math.floor(cx) - reach, math.floor(cy) - reach
        ox, oy = (cx - left) * fine, (cy - top) * fine
        mask = Image.new("L", (2 * reach * fine, 2 * reach * fine))
        pen = ImageDraw.Draw(mask)
        if t.shape in ("circle", "ring"):
            q = r * 0.96 * fine
            pen.ellipse((ox - q, oy - q, ox + q, oy + q), fill=255)
            if t.shape == "ring":
                q *= 0.5
                pen.ellipse((ox - q, oy - q, ox + q, oy + q), fill=0)
        else:
            pen.polygon([(ox + px * fine, oy + py * fine) for px, py in _outline(t.shape, r, t.angle)], fill=255)
        picture.paste(t.rgb, (left, top), mask.reduce(fine))
    return picture


def spoil(picture: Image.Image, rng: np.random.Generator, strength: float = 1.0) -> Image.Image:
    """Light (gain, tint, a ramp across the picture), blur and noise."""
    side = math.sqrt(picture.width * picture.height)
    if rng.random() < 0.5:
        picture = picture.filter(ImageFilter.GaussianBlur(rng.uniform(0, 0.011) * side * strength))
    pixels = np.asarray(picture, np.float32)
    gain = 1 + strength * rng.uniform(-0.24, 0.10)
    pixels = pixels * (gain * (1 + strength * rng.uniform(-0.045, 0.045, 3))).astype(np.float32)
    if rng.random() < 0.5:
        a, depth = rng.uniform(0, 2 * math.pi), strength * rng.uniform(0, 0.22)
        ramp = (np.linspace(-1, 1, picture.height, dtype=np.float32)[:, None] * math.sin(a)
                + np.linspace(-1, 1, picture.width, dtype=np.float32)[None] * math.cos(a))
        pixels = pixels * (1 - depth * (ramp * 0.5 + 0.5))[..., None]
    if rng.random() < 0.6:
        sigma = strength * rng.uniform(0, 12)
        pixels = pixels + rng.standard_normal(pixels.shape, np.float32) * sigma
    return Image.fromarray(np.clip(pixels + 0.5, 0, 255).astype(np.uint8))


def encode(picture: Image.Image, rng: np.random.Generator) -> tuple[str, bytes]:
    """The picture as a file: (extension, bytes), JPEG two times in three."""
    out = io.BytesIO()
    if rng.random() < 0.66:
        picture.save(out, "JPEG", quality=int(rng.integers(55, 96)), subsampling=int(rng.choice([0, 1, 2])))
        return "jpg", out.getvalue()
    picture.save(out, "PNG", compress_level=1)
    return "png", out.getvalue()


def tile(picture: Image.Image, edge: int = 64) -> np.ndarray:
    """What SmolVLMImageProcessor (not split) makes of a picture before rescaling: [edge, edge, 3] uint8.

    Two Lanczos resizes: the longest edge to `edge` keeping the aspect (the other made even), then to the square.
    """
    w, h = picture.size
    if w >= h:
        nw, nh = edge, int(edge / (w / h))
        nh += nh % 2
    else:
        nw, nh = int(edge * (w / h)), edge
        nw += nw % 2
    picture = picture.resize((nw, nh), Image.Resampling.LANCZOS)
    if picture.size != (edge, edge):
        picture = picture.resize((edge, edge), Image.Resampling.LANCZOS)
    return np.asarray(picture)


def picture_file(seed: int) -> tuple[Scene, str, bytes, np.random.Generator]:
    """Scene, extension and file bytes of a seed, and the generator to go on with for its questions."""
    rng = np.random.default_rng(seed)
    scene = sample_scene(rng)
    extension, data = encode(spoil(draw(scene, rng), rng), rng)
    return scene, extension, data, rng


def training_tile(seed: int, hardness: float) -> tuple[Scene, np.ndarray, np.random.Generator]:
    """As picture_file, but straight to the model's view, and mostly from smaller pictures to save time.

    PNG being lossless, only JPEG pictures take the way through a file's bytes.
    """
    rng = np.random.default_rng(seed)
    scene = sample_scene(rng, hardness, largest=400 if rng.random() < 0.2 else 130)
    picture = spoil(draw(scene, rng), rng, 0.4 + 0.6 * hardness)
    if rng.random() < 0.66:
        out = io.BytesIO()
        picture.save(out, "JPEG", quality=int(rng.integers(55, 96)), subsampling=int(rng.choice([0, 1, 2])))
        picture = Image.open(out).convert("RGB")
    return scene, tile(picture), rng


def tile_of_file(data: bytes) -> np.ndarray:
    return tile(Image.open(io.BytesIO(data)).convert("RGB"))
