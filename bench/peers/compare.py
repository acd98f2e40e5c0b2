#!/usr/bin/env python3
"""Measure the processor time a picture of what one would use instead of Sightline.

Every peer watches the same simulated RTSP camera (`sightline bench site`) for the same time, one after
the other, the rounds interleaved so that what else the machine does falls on all alike. Processor time
is divided by the pictures that the camera sends; a peer that takes close to a whole core or more may
leave some out. A peer that is not installed is named and left out:

  opencv    apt: python3-opencv, or pip: opencv-python-headless (in the Python that runs this script)
  gstreamer apt: gstreamer1.0-tools gstreamer1.0-plugins-good gstreamer1.0-plugins-bad gstreamer1.0-libav
  ffmpeg    apt: ffmpeg

usage: compare.py [--sightline bin/sightline] [--size 1920x1080] [--fps 30] [--for 10] [--rounds 3]
                  [--model FILE.onnx --card FILE.yaml]
"""

import argparse
import contextlib
import importlib.util
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

WARM = 3  # seconds from the start of a peer until its time is taken

OPENCV = """
import sys, cv2
capture = cv2.VideoCapture(sys.argv[1], cv2.CAP_FFMPEG)
net = cv2.dnn.readNetFromONNX(sys.argv[2]) if len(sys.argv) > 2 else None
while True:
    ok, frame = capture.read()
    if not ok:
        sys.exit("the camera is gone")
    if net is not None:
        net.setInput(cv2.dnn.blobFromImage(frame, 1 / 57.0, (224, 224), (124, 116, 104), swapRB=True))
        net.forward()
"""

PIPELINE = {
    "version": 1,
    "name": "peer",
    "device": "peer",
    "models": {"scene": {"inputs": ["camera"]}},
    "sinks": {"out": {"inputs": ["scene"], "jsonl": {"path": "-"}}},
    "http": {"listen": "off"},
    "log": {"level": "warn"},
}


def gstreamer(url, *tail):
    source = ["rtspsrc", "location=" + url, "latency=0", "protocols=tcp", "!", "rtph264depay", "!", "h264parse"]
    return ["gst-launch-1.0", "-q", *source, "!", "avdec_h264", "!", *tail, "fakesink", "sync=false"]


def commands(args, url, folder):
    """The peers by name: what to run, or why it cannot."""
    ffmpeg = ["ffmpeg", "-loglevel", "error", "-rtsp_transport", "tcp", "-threads", "1", "-i", url]
    small = "scale=224:224:flags=area,format=rgb24"
    peers = {
        "sightline (decode, scale, infer, publish)": sightline(args, url, folder),
        "ffmpeg, decode only": [*ffmpeg, "-f", "null", "-"],
        "ffmpeg, decode and scale": [*ffmpeg, "-vf", small, "-f", "rawvideo", "-y", os.devnull],
        "gstreamer, decode only": gstreamer(url),
        "gstreamer, decode and scale": gstreamer(
            url, "videoscale", "!", "videoconvert", "!", "video/x-raw,format=RGB,width=224,height=224", "!"
        ),
        "opencv VideoCapture (decode, full-size BGR)": [sys.executable, "-c", OPENCV, url],
    }
    if args.model:
        peers["opencv VideoCapture and cv2.dnn"] = [sys.executable, "-c", OPENCV, url, os.path.abspath(args.model)]
    return peers


def sightline(args, url, folder):
    pipeline = dict(PIPELINE, sources={"camera": {"rtsp": {"url": url, "transport": "tcp"}}})
    model = pipeline["models"]["scene"]
    model["model"] = os.path.abspath(args.model) if args.model else "gate"
    if args.card:
        model["card"] = os.path.abspath(args.card)
    path = os.path.join(folder, "peer.yaml")
    with open(path, "w", encoding="utf-8") as file:
        json.dump(pipeline, file)  # JSON is YAML
    return [args.sightline, "run", path]


def missing(command):
    if shutil.which(command[0]) is None:
        return command[0] + " is not installed"
    if command[0] == sys.executable and importlib.util.find_spec("cv2") is None:
        return "this Python has no cv2"
    return ""


def processor_seconds(pid):
    with open(f"/proc/{pid}/stat", encoding="utf-8") as file:
        fields = file.read().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def measure(command, seconds):
    """Processor seconds a second of a command, once it has warmed up."""
    with tempfile.TemporaryFile() as errors:
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=errors)
        try:
            time.sleep(WARM)
            begin, used = time.monotonic(), processor_seconds(process.pid)
            time.sleep(seconds)
            if process.poll() is not None:
                errors.seek(0)
                raise RuntimeError(errors.read().decode(errors="replace").strip() or "it ended")
            return (processor_seconds(process.pid) - used) / (time.monotonic() - begin)
        finally:
            process.terminate()
            process.wait()


@contextlib.contextmanager
def site(args, folder):
    """The URL of a running camera."""
    recording = os.path.join(folder, "recording")
    subprocess.run(
        [args.sightline, "bench", "record", recording, "--size", args.size, "--fps", str(args.fps)], check=True
    )
    process = subprocess.Popen(
        [args.sightline, "bench", "site", recording, "1"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    try:
        yield json.loads(process.stdout.readline())["cameras"][0]["url"]
    finally:
        process.stdin.close()
        process.wait()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sightline", default="bin/sightline")
    parser.add_argument("--size", default="1920x1080")
    parser.add_argument("--fps", type=int, default=30)
    parser.add_argument("--for", dest="seconds", type=float, default=10)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--model")
    parser.add_argument("--card")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, site(args, folder) as url:
        peers = commands(args, url, folder)
        figures = {name: [] for name in peers}
        for _ in range(args.rounds):
            for name, command in peers.items():
                if missing(command):
                    continue
                try:
                    figures[name].append(1000 * measure(command, args.seconds) / args.fps)
                except RuntimeError as problem:
                    print(f"{name}: {problem}", file=sys.stderr)
        for name, values in figures.items():
            text = f"not measured: {missing(peers[name]) or 'it failed'}"
            if values:
                text = f"{statistics.median(values):7.2f} ms of processor time a picture ({min(values):.2f} to {max(values):.2f})"
            print(f"{name:45} {text}")


if __name__ == "__main__":
    main()
