#!/usr/bin/env python3
"""Training speed on a GPU side by side in one run: Lodestone, stock sentence-transformers, and a tuned PyTorch.

Run:  tests/peers/gpu_speed.py LODESTONE [--model bert-base] [--lengths real] [--pairs 512] [--rounds 3] [--budget 240]
      tests/peers/gpu_speed.py LODESTONE --tiny          on the CPU, a test that it works: its figures are those of nothing that is trained
      launch/with_cuda.sh tests/peers/gpu_speed.py ...   where CUDA's libraries must be found first

Every program does steps of the same shape, on texts of the same lengths, those that `lodestone bench` draws from a fixed seed: random
weights, InfoNCE over the whole batch, gradients clipped at norm 1, AdamW, bf16. Peers (gpu_peers.py says how each is set) keep their
processes and take turns with ours: ours, stock, tuned, ours, stock, tuned, ..., ours. Tokens per second count real tokens, not padding,
and nobody's tokenizer runs. Prints one JSON with every figure, medians, extremes and the ratios of medians; a peer that cannot run here is
"not measured: " and the reason. The peers' Python is this one, or LODESTONE_PYTHON; it needs torch, transformers and, for stock,
sentence-transformers.
"""
import argparse
import json
import os
import pathlib
import select
import statistics
import subprocess
import sys
import time

NAMES = ("stock", "tuned")
OWN_LIBRARIES = ("libcudart.so.13", "libcublasLt.so.13", "libcudnn.so.9", "libnvrtc.so.13", "libnccl.so.2")


def texts_of(lengths):
    """"5:31 6:30" as a list of that many numbers."""
    return [int(length) for part in lengths.split() for length, count in [part.split(":")] for _ in range(int(count))]


def peer_environment():
    """Without the folders in which with_cuda.sh found our libraries: torch brings its own."""
    folders = [f for f in os.environ.get("LD_LIBRARY_PATH", "").split(":") if f and not any(os.path.exists(f"{f}/{name}") for name in OWN_LIBRARIES)]
    return {**os.environ, "LD_LIBRARY_PATH": ":".join(folders), "TOKENIZERS_PARALLELISM": "false"}


class Peer:
    """A process that does a few steps for each line that it is sent. `reason`: why it does no more."""

    def __init__(self, name, shape):
        self.name, self.reason, self.turns, self.settings, self.pending = name, None, [], None, b""
        python = os.environ.get("LODESTONE_PYTHON", sys.executable)
        worker = pathlib.Path(__file__).resolve().with_name("gpu_peers.py")
        self.process = subprocess.Popen([python, "-B", str(worker), name, json.dumps(shape)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=peer_environment())

    def answer(self, limit_s):
        """Its next line, read; None where it does no more."""
        end_s = time.monotonic() + limit_s
        while b"\n" not in self.pending:
            left_s = end_s - time.monotonic()
            if left_s <= 0 or not select.select([self.process.stdout], [], [], left_s)[0]:
                return self.stop(f"it had not answered after {limit_s:.0f} s")
            piece = os.read(self.process.stdout.fileno(), 65536)
            if not piece:
                return self.stop(f"its process ended with exit code {self.process.wait()}")
            self.pending += piece
        line, self.pending = self.pending.split(b"\n", 1)
        said = json.loads(line)
        return self.stop(said["missing"]) if "missing" in said else said

    def take_turn(self, limit_s):
        if self.reason is None:
            try:
                self.process.stdin.write(b"go\n")
                self.process.stdin.flush()
            except OSError:
                return self.stop(f"its process ended with exit code {self.process.wait()}")
            said = self.answer(limit_s)
            if said is not None:
                self.turns.append(said)

    def stop(self, reason):
        """Kills it. Returns None."""
        self.reason = self.reason or reason
        self.process.kill()
        self.process.wait()


def ours(a):
    command = [a.lodestone, "bench", "--device", a.device, "--model", a.model, "--lengths", a.lengths, "--pairs", a.pairs, "--steps", a.steps, "--precision", a.precision,
               "--dropout", a.dropout, "--chunk-tokens", a.chunk_tokens, "--keep-mb", a.keep_mb] + ["--threads", 1] * (a.device == "cpu")
    ended = subprocess.run(list(map(str, command)), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    if ended.returncode != 0:
        said = [line for line in ended.stderr.splitlines() if line.startswith("error:")] or ended.stderr.splitlines()[-1:] or ["it said nothing"]
        raise SystemExit(f"gpu_speed: lodestone bench ended with {ended.returncode}: {said[0]}")
    return json.loads(ended.stdout)


def of_turns(seconds, tokens, pairs):
    """Figures of steps' times, one a turn."""
    middle = statistics.median(seconds)
    return {"step_s": seconds, "median_s": middle, "spread": (max(seconds) - min(seconds)) / middle, "tokens_per_s": tokens / middle, "pairs_per_s": pairs / middle}


def measure(a):
    end_s = time.monotonic() + a.budget
    runs = [ours(a)]
    first_s = time.monotonic() - (end_s - a.budget)
    shape = {"device": a.device, "model": a.model, "precision": a.precision, "dropout": float(a.dropout), "steps": a.steps, "chunk_tokens": a.chunk_tokens, "compile": a.compile,
             "queries": texts_of(runs[0]["lengths_of_queries"]), "passages": texts_of(runs[0]["lengths_of_passages"])}
    assert sum(shape["queries"]) + sum(shape["passages"]) == runs[0]["tokens"], "the lengths are not those of the batch"
    peers = [Peer(name, shape) for name in NAMES]
    try:
        for peer in peers:  # one after the other: each warms up alone
            ready = peer.answer(max(end_s - time.monotonic() - 2 * first_s, 1))
            if ready is not None:
                peer.settings = ready["settings"]
        for turn in range(a.rounds):
            if turn > 0 and end_s - time.monotonic() < 2 * first_s:
                break
            for peer in peers:
                peer.take_turn(max(end_s - time.monotonic() - first_s, 1))
            runs.append(ours(a))
    finally:
        for peer in peers:
            peer.stop(None)
    tokens, pairs = runs[0]["tokens"], runs[0]["pairs"]
    found = {"device": runs[0]["backend"], "model": a.model, "lengths": a.lengths, "precision": a.precision, "dropout": float(a.dropout), "pairs": pairs, "tokens": tokens,
             "lengths_of_queries": runs[0]["lengths_of_queries"], "lengths_of_passages": runs[0]["lengths_of_passages"], "turns_asked_for": a.rounds,
             "lodestone": {**of_turns([r["step_s"] for r in runs], tokens, pairs), "share_of_large_product": [r["share_of_large_product"] for r in runs],
                           "chunk_tokens": a.chunk_tokens, "keep_mb": a.keep_mb}}
    for peer in peers:
        if not peer.turns:
            found[peer.name] = f"not measured: {peer.reason or 'the time was over before its first turn'}"
            continue
        of_peer = of_turns([statistics.median(turn["step_s"]) for turn in peer.turns], tokens, pairs)
        found[peer.name] = {**of_peer, "padded_tokens": peer.turns[0]["padded_tokens"], "peak_gpu_bytes": max(turn["peak_gpu_bytes"] for turn in peer.turns), "settings": peer.settings,
                            **({"ended_early": peer.reason} if peer.reason else {})}
        found[f"ours_over_{peer.name}"] = of_peer["median_s"] / found["lodestone"]["median_s"]
    return found


def main():
    args = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    args.add_argument("lodestone")
    args.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    args.add_argument("--model", choices=("minilm", "bert-base", "bert-large"), default="bert-base")
    args.add_argument("--lengths", default="real")
    args.add_argument("--precision", choices=("bf16", "f32"), default="bf16")
    args.add_argument("--dropout", choices=("0.1", "0"), default="0.1")
    args.add_argument("--pairs", type=int, default=512)
    args.add_argument("--steps", type=int, default=5, help="steps of a turn")
    args.add_argument("--rounds", type=int, default=3, help="turns of each")
    args.add_argument("--chunk-tokens", type=int, default=16384, help="of ours, and of the tuned peer's")
    args.add_argument("--keep-mb", type=int, default=32768)
    args.add_argument("--compile", action=argparse.BooleanOptionalAction, default=True, help="torch.compile for the tuned peer")
    args.add_argument("--budget", type=float, default=240, help="seconds in all: fewer turns where they are over")
    args.add_argument("--tiny", action="store_true")
    args.add_argument("--output", help="a file for the JSON instead of standard output")
    a = args.parse_args()
    if a.tiny:
        a.device, a.model, a.lengths, a.precision, a.pairs, a.steps, a.rounds, a.chunk_tokens, a.compile, a.budget = \
            "cpu", "minilm", "short", "f32", 8, 1, 2, 32, False, 600
    found = json.dumps(measure(a), indent=1)
    if a.output:
        pathlib.Path(a.output).write_text(found + "\n", encoding="utf-8")
    else:
        print(found)


if __name__ == "__main__":
    main()
