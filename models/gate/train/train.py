"""Trains the model of the simulated gate on what prepare.py made, judges it on held-out seeds, and writes gate.onnx."""
import argparse
import hashlib
import json
import time

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from prepare import LABELS, SIZE

SEED = 20260
BATCH = 64
PEAK_RATE = 4e-3  # highest learning rate of the one-cycle schedule
HALF_SEEN = 0.5  # an object that is seen less than this is not trained on


class Gate(nn.Module):
    """A small convolutional classifier: uint8 [batch, SIZE, SIZE, 3] RGB in, logits float32 [batch, labels] out."""

    def __init__(self):
        super().__init__()
        # channels in and out, edge of the kernel, stride: 128 -> 32 -> 16 -> 16 -> 8 -> 8 pixels
        plan = [(3, 32, 6, 4), (32, 40, 3, 2), (40, 40, 3, 1), (40, 64, 3, 2), (64, 64, 3, 1)]
        layers = []
        for inputs, outputs, edge, stride in plan:
            layers += [nn.Conv2d(inputs, outputs, edge, stride, 1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU(True)]
        self.features = nn.Sequential(*layers)
        self.answer = nn.Linear(2 * 64, len(LABELS))

    def forward(self, pictures):
        x = pictures.permute(0, 3, 1, 2).to(torch.float32) * (1 / 64) - 1.9
        x = self.features(x)
        return self.answer(torch.cat([x.mean((2, 3)), x.amax((2, 3))], 1))


def load(name):
    """Gives pictures (memory-mapped), labels int64, settled bool, and which rows can be trained on."""
    pictures = np.load(name + "-pictures.npy", mmap_mode="r")
    truth = np.load(name + "-truth.npy")
    labels, settled, visible = truth[:, 0].astype(np.int64), truth[:, 1] > 0, truth[:, 2]
    gone = visible == 0
    labels = np.where(gone, 0, labels)
    return pictures, labels, settled, gone | (visible >= HALF_SEEN)


def varied(pictures, chance, noise):
    """Changes brightness, colour, position, direction and noise: uint8 to float32 [n, SIZE, SIZE, 3], 0 to 255."""
    x = torch.from_numpy(pictures)
    n = len(x)
    if chance.random() < 0.5:
        x = x.flip(2)
    dy, dx = chance.integers(-4, 5, 2)
    x = x.roll((int(dy), int(dx)), (1, 2)).float()
    gain = chance.uniform(0.8, 1.2, (n, 1, 1, 1)) * chance.uniform(0.93, 1.07, (n, 1, 1, 3))
    x.mul_(torch.from_numpy(gain.astype(np.float32)))
    x.add_(torch.from_numpy(chance.uniform(-12, 12, (n, 1, 1, 1)).astype(np.float32)))
    x.add_(noise.roll(int(chance.integers(0, 1 << 20))), alpha=float(chance.uniform(0, 4)))
    return x.clamp_(0, 255)


def train(model, data, epochs):
    """Trains in place."""
    pictures, labels, _, usable = data
    rows = np.flatnonzero(usable)
    chance = np.random.default_rng(SEED)
    noise = torch.randn(SIZE, SIZE, 3)
    steps = epochs * (len(rows) // BATCH)
    optimizer = torch.optim.AdamW(model.parameters(), lr=PEAK_RATE, weight_decay=0.02)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, PEAK_RATE, total_steps=steps, pct_start=0.2)
    for epoch in range(epochs):
        model.train()
        chance.shuffle(rows)
        start, total, right = time.time(), 0.0, 0
        for i in range(len(rows) // BATCH):
            part = np.sort(rows[i * BATCH:(i + 1) * BATCH])
            want = torch.from_numpy(labels[part])
            scores = model(varied(pictures[part], chance, noise))
            loss = functional.cross_entropy(scores, want, label_smoothing=0.02)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            total += loss.item()
            right += (scores.argmax(1) == want).sum().item()
        print(f"epoch {epoch + 1}/{epochs}: loss {total / (i + 1):.4f}, right {right / (i + 1) / BATCH:.4f}, "
              f"{time.time() - start:.0f} s", flush=True)


def judge(model, data):
    """Gives the agreement with the truth on settled pictures: of all, of each label, and the confusion matrix."""
    pictures, labels, settled, _ = data
    model.eval()
    rows = np.flatnonzero(settled)
    confusion = np.zeros((len(LABELS), len(LABELS)), int)
    with torch.no_grad():
        for part in np.array_split(rows, max(1, len(rows) // 256)):
            said = model(torch.from_numpy(pictures[part])).argmax(1).numpy()
            np.add.at(confusion, (labels[part], said), 1)
    each = confusion.diagonal() / np.maximum(1, confusion.sum(1))
    return {
        "pictures": int(confusion.sum()), "agreement": round(confusion.trace() / confusion.sum(), 5),
        "labels": {name: round(float(a), 4) for name, a in zip(LABELS, each)}, "confusion": confusion.tolist(),
    }


def export(model, path):
    """Writes the ONNX file (opset 17) and gives its sha256."""
    model.eval()
    torch.onnx.export(model, torch.zeros(1, SIZE, SIZE, 3, dtype=torch.uint8), path, opset_version=17,
                      input_names=["pictures"], output_names=["scores"],
                      dynamic_axes={"pictures": {0: "batch"}, "scores": {0: "batch"}})
    with open(path, "rb") as f:
        return hashlib.sha256(f.read()).hexdigest()


def main():
    ask = argparse.ArgumentParser(description=__doc__)
    ask.add_argument("--train", default="train", help="beginning of the training files' names")
    ask.add_argument("--held", default="held", help="beginning of the held-out files' names")
    ask.add_argument("--epochs", type=int, default=8)
    ask.add_argument("--threads", type=int, default=1)
    ask.add_argument("--out", default="gate.onnx")
    opt = ask.parse_args()
    torch.manual_seed(SEED)
    torch.set_num_threads(opt.threads)
    model = Gate()
    train(model, load(opt.train), opt.epochs)
    report = judge(model, load(opt.held))
    report["sha256"] = export(model, opt.out)
    print(json.dumps(report))


if __name__ == "__main__":
    main()
