"""How fast a GPU trains: the part of gpu_check.py that `gpu_check.sh bench` is. The most valuable part comes first, and each has its time."""
import json
import os
import pathlib
import shutil
import sys
import time

from gpu_report import LEFT_OUT, run

root = pathlib.Path(__file__).resolve().parent.parent
# Model, tokens a text or their distribution, pairs, dropout. cuDNN computes attention where nothing is dropped.
STEPS = (("bert-large", "dense", 128, "0.1"), ("bert-base", "dense", 256, "0.1"), ("bert-base", "real", 512, "0.1"), ("bert-base", "dense", 256, "0"), ("minilm", "real", 1024, "0.1"),
         ("bert-large", "512", 32, "0.1"), ("minilm", "dense", 512, "0.1"))
IN_F32 = (("bert-base", "dense", 256, "0.1"), ("minilm", "real", 512, "0.1"))
QUICK = (("minilm", "short", 2, "0.1"),)  # what an emulated GPU does in a minute


class Part:
    """What has so many seconds of those that are left, all its commands together."""

    def __init__(self, report, limit_s):
        self.report, self.end_s = report, time.monotonic() + limit_s

    def left_s(self):
        return min(self.end_s - time.monotonic(), self.report.left_s())

    def bench(self, name, *options, least_s=10):
        """The figures of one `lodestone bench`; None where there are none, which then is an item."""
        if self.left_s() < least_s:
            self.report.add(name, "not run", "its time is over")
            return None
        ended = run(["lodestone", "bench", "--device", "cuda", *map(str, options)], self.left_s())
        if ended.code == 0:
            return json.loads(ended.out)
        self.report.add(name, self.report.state_of(ended), ended.reason())
        return None


def percent(share):
    """A share, or "not measured: " and the reason."""
    return share if isinstance(share, str) else f"{share:.1%}"


def steps(part, shapes, precision, quick):
    """Whole steps, as training makes them, beside the largest product before and after them in the same process."""
    for model, lengths, pairs, dropout in shapes:
        name = f"step of {model}, {lengths}, {pairs} pairs, {precision}" + (", no dropout" if dropout == "0" else "")
        found = part.bench(name, "--model", model, "--lengths", lengths, "--pairs", pairs, "--precision", precision, "--dropout", dropout, "--steps", 1 if quick else 5,
                           "--ceiling-edge", 32 if quick else 8192, "--chunk-tokens", 16384, "--keep-mb", 32768)
        if found:
            part.report.add(name, "passed", f"{found['step_s'] * 1e3:.1f} ms, {found['tokens_per_s']:.0f} tokens/s, {found['pairs_per_s']:.0f} pairs/s, {found['gflops'] / 1e3:.4g} TFLOP/s; "
                            f"of the largest product {percent(found['share_of_large_product'])}; GPU waits for the host {percent(found['device_idle_share'])}", **found)


def graphs(part, quick):
    """Chunks so small that the host is slower than the GPU, launched one by one and as CUDA graphs."""
    if quick:
        part.report.add("CUDA graphs", "not run", LEFT_OUT)
        return
    for model, tokens in (("minilm", 1024), ("minilm", 4096), ("bert-base", 1024), ("bert-base", 4096)):
        name = f"CUDA graphs, {model}, chunks of {tokens} tokens"
        found = [part.bench(name, "--model", model, "--lengths", "real", "--pairs", 512, "--ceiling-edge", 8192, "--chunk-tokens", tokens, "--keep-mb", 65536, "--cuda-graphs", asked)
                 for asked in ("false", "true")]
        if all(found):
            single, whole = found
            part.report.add(name, "passed", f"{whole['tokens_per_s']:.0f} tokens/s, {whole['tokens_per_s'] / single['tokens_per_s']:.3f} times as many as launch by launch", single=single, graphs=whole)


def operations(part, quick):
    """Attention by own kernels and by cuDNN, the optimizer beside copies, tiles of the loss beside products."""
    found = part.bench("operations", "--operations", *((16, "--pairs", 64, "--steps", 1, "--ceiling-edge", 32) if quick else (8192, "--model", "bert-base", "--pairs", 19200)))
    if not found:
        return
    for row in found["attention"]:
        cudnn = row["cudnn"]
        part.report.add(f"attention, {row['texts']} texts of {row['tokens_per_text']} tokens, heads of {row['head_size']}", "passed",
                        f"own {row['own']['tflops']:.4g} TFLOP/s forward and backward, {row['own_dropout']['tflops']:.4g} with dropout; cuDNN " +
                        (cudnn if isinstance(cudnn, str) else f"{cudnn['tflops']:.4g} TFLOP/s, own is {row['own_speed_over_cudnn']:.2f} times as fast"), **row)
    adamw = found["optimizer"]
    part.report.add("optimizer", "passed", f"{adamw['gb_per_s']:.4g} GB/s, {adamw['share_of_copy']:.1%} of copies in the same run", **adamw)
    for tile in found["loss_tiles"]:
        part.report.add(f"loss, a tile of {tile['rows']} x {tile['columns']} scores", "passed", f"{tile['whole_tflops']:.4g} TFLOP/s, its products {tile['products_tflops']:.4g}; of the f32 product "
                        f"{percent(tile['whole_share_of_f32'])}", ceilings=found["ceilings"], **tile)


def peers(part, quick):
    """Ours beside stock sentence-transformers and a tuned PyTorch, in turns."""
    name = "beside PyTorch"
    python = os.environ.get("LODESTONE_PYTHON", sys.executable)
    torch = run([python, "-c", "import torch; raise SystemExit(None if torch.cuda.is_available() else 'torch sees no GPU')"], 60, LD_LIBRARY_PATH="")
    if torch.code != 0 or quick or part.left_s() < 60:
        part.report.add(name, "not run", torch.reason() if torch.code != 0 else LEFT_OUT if quick else "its time is over")
        return
    limit_s = part.left_s()
    ended = run([sys.executable, "-B", str(root / "tests/peers/gpu_speed.py"), shutil.which("lodestone"), "--budget", str(limit_s - 10), "--output", "peers.json"], limit_s)
    if ended.code != 0:
        part.report.add(name, part.report.state_of(ended), ended.reason())
        return
    found = json.loads(pathlib.Path("peers.json").read_text(encoding="utf-8"))
    said = [f"{peer} {found[peer]}" if isinstance(found[peer], str) else f"{found[f'ours_over_{peer}']:.2f} times {peer}" for peer in ("stock", "tuned")]
    measured = any(not isinstance(found[peer], str) for peer in ("stock", "tuned"))
    part.report.add(name, "passed" if measured else "not run", f"{found['model']}, {found['lengths']}: {found['lodestone']['tokens_per_s']:.0f} tokens/s, {', '.join(said)}", **found)


def ceilings(part, quick):
    """What the device does at most with any matrix, and how fast it copies."""
    edge = 64 if quick else 8192
    found = part.bench("ceilings", "--ceilings", edge)
    if found:
        part.report.add("ceilings", "passed", f"products of {edge} x {edge}: " + ", ".join(f"{p['tflops']:.4g} TFLOP/s in {p['precision']}" for p in found["products"]) + "; " +
                        ", ".join(f"{c['gb_per_s']:.4g} GB/s {c['way']}" for c in found["copies"]), **found)


def bench(report, quick):
    """Parts in the order of their worth, and the seconds that each may take. They are more than the 570 that there are: the last one has what is left, or is not run."""
    for what, limit_s in ((lambda part: steps(part, QUICK if quick else STEPS, "bf16", quick), 200), (lambda part: operations(part, quick), 100), (lambda part: peers(part, quick), 190),
                          (lambda part: ceilings(part, quick), 40), (lambda part: graphs(part, quick), 60), (lambda part: steps(part, QUICK if quick else IN_F32, "f32", quick), 200)):
        with report.item("bench"):
            what(Part(report, limit_s))
