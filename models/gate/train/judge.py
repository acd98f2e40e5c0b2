"""Judges a written gate.onnx with ONNX Runtime on what prepare.py made, independent of PyTorch."""
import argparse
import json
import time

import numpy as np
import onnxruntime

from prepare import LABELS


def main():
    ask = argparse.ArgumentParser(description=__doc__)
    ask.add_argument("model")
    ask.add_argument("names", nargs="+", help="beginnings of the files' names")
    opt = ask.parse_args()
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(opt.model, options)
    for name in opt.names:
        pictures = np.load(name + "-pictures.npy", mmap_mode="r")
        truth = np.load(name + "-truth.npy")
        rows = np.flatnonzero(truth[:, 1] > 0)
        labels = truth[rows, 0].astype(int)
        start = time.time()
        said = np.array([session.run(None, {"pictures": pictures[i:i + 1]})[0][0].argmax() for i in rows])
        took = (time.time() - start) / len(rows)
        confusion = np.zeros((len(LABELS), len(LABELS)), int)
        np.add.at(confusion, (labels, said), 1)
        each = confusion.diagonal() / np.maximum(1, confusion.sum(1))
        print(json.dumps({
            "name": name, "pictures": len(rows), "agreement": round(float((said == labels).mean()), 5),
            "labels": dict(zip(LABELS, each.round(4).tolist())), "confusion": confusion.tolist(),
            "ms_a_picture": round(took * 1000, 3),
        }))


if __name__ == "__main__":
    main()
