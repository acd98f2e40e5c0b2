"""Makes the pictures that the model is trained and judged on.

Each seed gives one clip of the simulated gate: rendered, encoded as H.264 at a low bit rate, decoded, and scaled to
the model's input size with an antialiased bilinear filter (Pillow's, which torchvision's equals).

Writes NAME-pictures.npy, uint8 [pictures, SIZE, SIZE, 3] RGB, and NAME-truth.npy, float32 [pictures, 4]: the label's
number, settled (0 or 1), the visible share of the object (0 to 1), and the seed.
"""
import argparse
import random
import subprocess
import tempfile
from multiprocessing import Pool

import numpy as np
from PIL import Image

LABELS = ["empty", "person", "bicycle", "car", "truck", "dog"]
SIZE = 128  # edge of the model's input, pixels
WIDTH, HEIGHT = 640, 360  # the rendered pictures, pixels
EVERY_MS = 240  # from one picture to the next


def encoded(render, seed, frames, rate, start_ms, every_ms, truth):
    """Renders and encodes one clip. Gives the H.264 byte stream, frames pictures long."""
    raw = f"-f rawvideo -pix_fmt bgr24 -s {WIDTH}x{HEIGHT} -r 15 -i -"
    code = f"-pix_fmt yuv420p -c:v libx264 -preset veryfast -tune zerolatency -g 30 -b:v {rate}k -threads 1 -f h264 -"
    renderer = subprocess.Popen(
        [render, "-seed", str(seed), "-from", f"{start_ms}ms", "-every", f"{every_ms}ms", "-frames", str(frames),
         "-width", str(WIDTH), "-height", str(HEIGHT), "-truth", truth],
        stdout=subprocess.PIPE)
    done = subprocess.run(["ffmpeg", "-v", "error", *raw.split(), *code.split()],
                          stdin=renderer.stdout, stdout=subprocess.PIPE, check=True)
    renderer.stdout.close()
    if renderer.wait() != 0:
        raise RuntimeError(f"rendering of seed {seed} ended with {renderer.returncode}")
    return done.stdout


def decoded(stream):
    """Decodes an H.264 byte stream into uint8 [pictures, HEIGHT, WIDTH, 3] RGB."""
    back = "-v error -threads 1 -f h264 -i - -f rawvideo -pix_fmt rgb24 -"
    done = subprocess.run(["ffmpeg", *back.split()], input=stream, stdout=subprocess.PIPE, check=True)
    return np.frombuffer(done.stdout, np.uint8).reshape(-1, HEIGHT, WIDTH, 3)


def scaled(picture):
    """Stretches one picture to SIZE x SIZE."""
    return np.asarray(Image.fromarray(picture).resize((SIZE, SIZE), Image.Resampling.BILINEAR))


def clip(task):
    """Makes the clip of one seed: pictures and their truth."""
    render, seed, frames, start_ms, every_ms, rate = task
    chance = random.Random(seed)
    if start_ms is None:
        start_ms = chance.randrange(0, 240_000)
    if rate is None:  # of 15 pictures a second, kbit/s; they lie further apart than a camera's, so cost more
        rate = round(2 ** chance.uniform(9, 11.6))
    with tempfile.NamedTemporaryFile("r", suffix=".csv") as truth:
        pictures = decoded(encoded(render, seed, frames, rate, start_ms, every_ms, truth.name))
        rows = [line.strip().split(",") for line in truth]
    if not len(pictures) == len(rows) == frames:
        raise RuntimeError(f"seed {seed}: {len(pictures)} pictures, {len(rows)} truths, want {frames}")
    labels = [[LABELS.index(name), float(settled), float(visible), seed] for name, settled, visible in rows]
    return np.stack([scaled(p) for p in pictures]), np.array(labels, np.float32)


def main():
    ask = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ask.add_argument("name", help="beginning of the files' names")
    ask.add_argument("--render", default="./render", help="the built render program")
    ask.add_argument("--first", type=int, required=True, help="first seed")
    ask.add_argument("--seeds", type=int, required=True, help="number of seeds")
    ask.add_argument("--frames", type=int, default=48, help="pictures a seed")
    ask.add_argument("--start", type=int, help="time of the first picture, ms; else by chance in the first four minutes")
    ask.add_argument("--every", type=int, default=EVERY_MS, help="time from picture to picture, ms")
    ask.add_argument("--rate", type=int, help="bit rate, kbit/s; else by chance from 512 to 3100")
    ask.add_argument("--jobs", type=int, default=2)
    opt = ask.parse_args()
    tasks = [(opt.render, opt.first + i, opt.frames, opt.start, opt.every, opt.rate) for i in range(opt.seeds)]
    pictures = np.lib.format.open_memmap(opt.name + "-pictures.npy", "w+", np.uint8,
                                         (opt.seeds * opt.frames, SIZE, SIZE, 3))
    truth = np.zeros((len(pictures), 4), np.float32)
    with Pool(opt.jobs) as pool:
        for i, (p, t) in enumerate(pool.imap(clip, tasks)):
            pictures[i * opt.frames:(i + 1) * opt.frames] = p
            truth[i * opt.frames:(i + 1) * opt.frames] = t
    np.save(opt.name + "-truth.npy", truth)


if __name__ == "__main__":
    main()
