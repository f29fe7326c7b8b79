"""Draw the sample video, anomalycli/sample.mp4: two people walk towards each other, fight, and walk on.

    python benchmarks/draw_sample.py anomalycli/sample.mp4

Nothing in it was filmed, so it may be distributed with the tool. Scores of a drawing say nothing about accuracy.
"""

import argparse
import math
from pathlib import Path

import av
import numpy as np
from PIL import Image, ImageDraw, ImageFilter

WIDTH, HEIGHT, FPS, SECONDS = 320, 240, 25, 24
FIGHT = (8, 15)  # seconds
GROUND, SCALE, SMOOTH = 228, 2.1, 2  # pixels; size of a person; drawn so much larger, then reduced
SKIN, HAIR, SHADOW = (196, 150, 120), (50, 38, 30), (70, 70, 72)
CLOTHES = (((170, 52, 48), (40, 48, 70)), ((52, 92, 64), (70, 62, 52)))  # shirt and trousers of each

Point = tuple[float, float]
Colour = tuple[int, ...]
Arms = tuple[Point, Point]  # angles of upper arm and forearm, of the far and the near arm


def main() -> None:
    """Write the video."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("output", type=Path)
    street = background(np.random.default_rng(7))
    with av.open(str(parser.parse_args().output), "w") as container:
        stream = container.add_stream("libx264", rate=FPS, options={"crf": "26", "preset": "slow"})
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        for number in range(FPS * SECONDS):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture(street, number), "rgb24")))
        container.mux(stream.encode())


def picture(street: Image.Image, number: int) -> np.ndarray:
    """Frame `number`, uint8 (HEIGHT, WIDTH, 3), with the noise of a camera."""
    large = street.resize((WIDTH * SMOOTH, HEIGHT * SMOOTH))
    pen = ImageDraw.Draw(large)
    for pose, (shirt, trousers) in zip(poses(number / FPS), CLOTHES, strict=True):
        draw_person(pen, pose, shirt, trousers)
    frame = np.asarray(large.resize((WIDTH, HEIGHT), Image.Resampling.LANCZOS)).astype(float)
    noise = np.random.default_rng(number).normal(0, 3.5, (HEIGHT, WIDTH, 1))
    return (frame + noise).clip(0, 255).astype(np.uint8)


def poses(seconds: float) -> tuple[tuple[float, float, Arms, float], ...]:
    """Place, lean, arms and phase of the step of each person."""
    begin, end = FIGHT
    if seconds < begin:
        part = seconds / begin
        places = 30 + part * 90, 290 - part * 90
    elif seconds >= end:
        part = (seconds - end) / (SECONDS - end)
        places = 128 - part * 110, 178 + part * 120
    else:
        return fight(seconds - begin)
    return tuple((place, 0.0, walk(5 * seconds + i), 5 * seconds + i) for i, place in enumerate(places))


def walk(phase: float) -> Arms:
    """Arms that swing with the steps."""
    return (0.4 * math.sin(phase), 0.2), (-0.4 * math.sin(phase), 0.2)


def fight(seconds: float) -> tuple[tuple[float, float, Arms, float], ...]:
    """Two people who push and strike."""

    def swing(times: float, phase: float) -> float:
        return math.sin(2 * math.pi * times * seconds + phase)

    left = ((1.4 + 1.1 * swing(3.3, 0), 0.8 * swing(4.1, 1)), (1.6 + 1.2 * swing(3.7, 2), 0.9 * swing(3.2, 0)))
    right = ((-1.5 + 1.2 * swing(3.5, 1), 0.8 * swing(3.6, 2)), (-1.4 + 1.1 * swing(3.1, 0), 0.9 * swing(4.3, 1)))
    return (
        (128 + 14 * swing(1.3, 0) + 6 * swing(3.1, 1), 0.35 + 0.5 * swing(2.2, 0), left, 4 * swing(1.7, 0)),
        (178 + 15 * swing(1.1, 2) + 6 * swing(2.9, 0), -0.35 + 0.5 * swing(1.9, 2), right, 4 * swing(1.5, 1)),
    )


def draw_person(
    pen: ImageDraw.ImageDraw, pose: tuple[float, float, Arms, float], shirt: Colour, trousers: Colour
) -> None:
    """Draw one person at the place of its pose."""
    place, lean, (far, near), phase = pose
    x, y, size = place * SMOOTH, GROUND * SMOOTH, SCALE * SMOOTH
    hip, shoulder, thick = (x, y - 42 * size), (x + lean * 30 * size, y - 78 * size), max(2, int(7 * size))
    pen.ellipse((x - 18 * size, y - 4 * size, x + 18 * size, y + 5 * size), fill=SHADOW)
    for side in (1, -1):
        bend = -0.3 * abs(math.sin(phase))
        draw_limb(pen, hip, (side * 0.5 * math.sin(phase), bend), 22 * size, thick + 2, trousers)
    draw_limb(pen, shoulder, far, 16 * size, thick, tuple(int(value * 0.8) for value in shirt))
    corners = [(hip[0] - 8 * size, hip[1]), (hip[0] + 8 * size, hip[1])]
    corners += [(shoulder[0] + 11 * size, shoulder[1]), (shoulder[0] - 11 * size, shoulder[1])]
    pen.polygon(corners, fill=shirt)
    head_x, head_y = shoulder[0] + lean * 8 * size, shoulder[1] - 13 * size
    pen.ellipse((head_x - 9 * size, head_y - 10 * size, head_x + 9 * size, head_y + 10 * size), fill=SKIN)
    pen.pieslice((head_x - 9 * size, head_y - 11 * size, head_x + 9 * size, head_y + 7 * size), 180, 360, fill=HAIR)
    draw_limb(pen, shoulder, near, 16 * size, thick, SKIN)


def draw_limb(pen: ImageDraw.ImageDraw, at: Point, angles: Point, length: float, thick: int, colour: Colour) -> None:
    """Two parts of `length` each: the first at an angle to the ground's normal, the second bent against it."""
    angle = 0.0
    for turn in angles:
        angle += turn
        end = at[0] + length * math.sin(angle), at[1] + length * math.cos(angle)
        pen.line((*at, *end), fill=colour, width=thick)
        pen.ellipse([value + side * thick / 2 for side in (-1, 1) for value in end], fill=colour)
        at = end


def background(random: np.random.Generator) -> Image.Image:
    """A brick wall with windows, above a pavement."""
    image = Image.new("RGB", (WIDTH, HEIGHT), (120, 122, 125))
    pen = ImageDraw.Draw(image)
    pen.rectangle((0, 0, WIDTH, 90), fill=(150, 140, 128))
    for x in range(0, WIDTH, 16):
        for y in range(0, 90, 8):
            shade, shift = int(random.integers(-14, 14)), 8 if (y // 8) % 2 else 0
            brick = (142 + shade, 120 + shade, 104 + shade)
            pen.rectangle((x + shift, y, x + 15 + shift, y + 7), fill=brick, outline=(110, 98, 88))
    for x in (30, 130, 230):
        pen.rectangle((x, 20, x + 50, 70), fill=(60, 70, 84), outline=(210, 205, 195), width=3)
    pen.rectangle((0, 90, WIDTH, 100), fill=(90, 88, 86))
    for number in range(-10, 20):
        pen.line((160 + number * 40, 100, 160 + (number - 4) * 90, HEIGHT), fill=(105, 106, 110))
    grain = np.asarray(image).astype(float) + random.normal(0, 6, (HEIGHT, WIDTH, 1))
    return Image.fromarray(grain.clip(0, 255).astype(np.uint8)).filter(ImageFilter.GaussianBlur(0.6))


if __name__ == "__main__":
    main()
