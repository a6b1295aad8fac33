#!/usr/bin/env python3
"""What gpu_check.sh looks at, item by item. It is started by that script, which finds the programs and CUDA's libraries.

usage: gpu_check.py properties|check|bench [--report FILE] [--quick]
"""
import argparse
import ctypes
import glob
import json
import os
import pathlib
import shutil
import sys
import tempfile

from gpu_bench import bench
from gpu_report import LEFT_OUT, Report, run

root = pathlib.Path(__file__).resolve().parent.parent
NO_GPU = 77


def dlopen(name):
    """The library, or None."""
    try:
        return ctypes.CDLL(name)
    except OSError:
        return None


# ---- properties -------------------------------------------------------------------------------------------------------------------------
def library_version(report, name, file, version):
    """An item for a library that the program does without where it is not there: where it was opened, and its version."""
    library = dlopen(file)
    if library is None:
        report.add(name, "not run", f"there is no {file}")
        return
    with open("/proc/self/maps", encoding="utf-8") as maps:
        path = next((line.split()[-1] for line in maps if file.split(".so")[0] + ".so" in line), file)
    report.add(name, "passed", version(library), file=path)


def cudnn_version(library):
    library.cudnnGetVersion.restype = ctypes.c_size_t
    number = library.cudnnGetVersion()  # 91900 is 9.19.0
    return f"{number // 10000}.{number // 100 % 100}.{number % 100}"


def nccl_version(library):
    number = ctypes.c_int()
    library.ncclGetVersion(ctypes.byref(number))  # 22809 is 2.28.9
    return f"{number.value // 10000}.{number.value // 100 % 100}.{number.value % 100}"


def properties(report, _):
    devices = report.content["devices"]
    cuda = devices["cuda"]
    for number, gpu in enumerate(cuda["gpus"]):
        report.add(f"GPU {number}", "passed", f"{gpu['name']}, sm_{gpu['compute_capability']}, {gpu['memory_bytes'] / 1e9:.0f} GB, "
                   f"{gpu['multiprocessors']} multiprocessors at {gpu['clock_khz'] / 1e6:.2f} GHz, memory at {gpu['memory_clock_khz'] / 1e6:.2f} GHz on {gpu['memory_bus_bits']} bits")
    for name, key in (("driver takes CUDA", "driver"), ("CUDA runtime", "runtime"), ("cuBLASLt", "cublaslt")):
        report.add(name, "passed", cuda[key])
    for name, key in (("MPI", "mpi"), ("C library", "c_library"), ("CPU", "cpu")):
        report.add(name, "passed", devices[key])
    library_version(report, "cuDNN", "libcudnn.so.9", cudnn_version)
    library_version(report, "NCCL", "libnccl.so.2", nccl_version)
    smi = run(["nvidia-smi", "--query-gpu=name,driver_version,clocks.max.sm,clocks.max.memory,power.limit,ecc.mode.current", "--format=csv,noheader"], 30)
    report.add("nvidia-smi", "passed" if smi.code == 0 else "not run", smi.out.strip().replace("\n", "; ") if smi.code == 0 else smi.reason())


# ---- check ------------------------------------------------------------------------------------------------------------------------------
on_gpu = {"LODESTONE_TEST_BACKEND": "cuda", "LODESTONE_TEST_DATA": str(root / "tests")}


def read_suites():
    """The filters of gpu_suites.txt by the names of its items."""
    filters = {}
    for line in (root / "launch/gpu_suites.txt").read_text(encoding="utf-8").splitlines():
        if not line.startswith("#"):
            name, *of = line.split()
            filters.setdefault(name, []).extend(of)
    left_out = ":-" + ":".join(filters.pop("left_out"))
    return {name: ":".join(of) + left_out for name, of in filters.items()}


core = read_suites()
without_libraries = core["operations"] + ":*Linear*:*Gemm*:*PlannedAttention*"  # left_out is last there, so these are left out too
golden_losses = "LossesGolden.*:InfoNceTest.Matryoshka*:RerankerGolden.FastBackend*"
losses = ("Cbb.*:ContrastiveLosses.*:Cosent.Tensor*:EmbeddingObjective.*:FalseNegatives.*:GroupDistillation.Tensor*:GroupLoss.*:Gte.Tensor*:InfoNceTest.*:LossesGolden.*:"
          "MarginMse.Tensor*:MlmGolden.*:NegativeScores.*:RerankerGolden.*:RerankerObjective.*:RetroMaeObjective.*:StabilisedDistillation.Tensor*:SumLoss.Adds*:"
          "-Cbb.Refuses*:FalseNegatives.RuleByCases:*.AllocatesNothing*:*.AllocateNothing*:*.MemoryBeyond*:*.MemoryIsThat*")


def names_of(program, tests):
    """The tests of a filter."""
    names, suite = [], ""
    for line in run([program, "--gtest_list_tests", f"--gtest_filter={tests}"], 60, **on_gpu).out.splitlines():
        if line.startswith(" "):
            names.append(suite + line.split("#")[0].strip())
        elif line.split("#")[0].rstrip().endswith("."):
            suite = line.split("#")[0].strip()
    return names


def suites(report, name, program, tests, limit_s):
    """Tests that run on any backend, on this GPU, each an entry of the item. Behind one that fails a new process goes on: an error of the GPU stays with its process. One that skips
    itself, where cuDNN is missing say, is an entry "not run" with its reason, beside which the item passes."""
    start_s, pending, found, skipped = report.left_s(), names_of(program, tests), [], []
    states = {"[       OK ]": "passed", "[  FAILED  ]": "failed", "[  SKIPPED ]": "not run"}
    while pending and (left_s := min(limit_s - (start_s - report.left_s()), report.left_s())) > 1:
        ended = run([program, f"--gtest_filter={':'.join(pending)}", "--gtest_fail_fast"], left_s, **on_gpu)
        said, over = [], []
        for line in ended.out.splitlines():
            mark, test = line[:12], line[12:].split(",")[0].split(" (")[0].strip()
            if mark in states and test in pending and test not in over:
                over.append(test)
                found.append({"name": test, "state": states[mark], **({"said": said[-20:]} if states[mark] != "passed" else {})})
                if states[mark] == "failed":
                    break
                if states[mark] == "not run":
                    skipped.append(test)
                said = []
            else:
                said.append(line)
        if ended.code != 0 and len(over) < len(pending) and not (over and found[-1]["state"] == "failed"):
            over.append(pending[len(over)])  # the one that was running: it crashed, or took all the time
            found.append({"name": over[-1], "state": "not run" if ended.code is None else "failed", "said": [ended.reason(), *said[-20:]]})
        pending = [test for test in pending if test not in over]
        if not over:
            break
    failed = [test["name"] for test in found if test["state"] == "failed"]
    left = [*(test["name"] for test in found if test["state"] == "not run" and test["name"] not in skipped), *pending]
    passed = sum(test["state"] == "passed" for test in found)
    seconds = round(start_s - report.left_s(), 1)
    what = f"{len(failed)} of {len(found)} tests failed: {' '.join(failed)}" if failed else f"{passed} tests in {seconds} s" if found else "no test is there"
    what += (f"; not run to the end: {' '.join(left)}" if left else "") + (f"; skipped, with reasons in the report: {' '.join(skipped)}" if skipped else "")
    report.add(name, "failed" if failed or not found else "not run" if left or not passed else "passed", what, seconds=seconds, tests=found)


between_gpus = "a rank on each GPU, by NCCL"


class Training:
    """Runs of the tiny model of tests/support/tiny_run.py; the losses of each by its name. Dropout is on unless settings say otherwise."""

    def __init__(self, report, steps):
        self.report, self.steps, self.losses, self.failure = report, steps, {}, {}
        made = run([sys.executable, str(root / "tests/support/tiny_run.py")], 60)
        packed = run(["lodestone", "pack", "--tokenizer", "vocab", "--output", "corpus", "train.jsonl"], 60)
        self.ready = made.code == 0 and packed.code == 0
        if not self.ready:
            report.add("data of the training runs", "failed", made.reason() if made.code != 0 else packed.reason())

    def run(self, name, device, precision, ranks=1, comm="auto", learning_rate=1e-3, settings=()):
        launcher = ["mpirun", "--oversubscribe", "--bind-to", "none", "--mca", "btl", "self,vader", "-np", str(ranks)] if ranks > 1 or comm == "nccl" else []
        ended = run([*launcher, "lodestone", "train", "run.yaml", f"device={device}", f"comm={comm}", f"optim.learning_rate={learning_rate}", f"train.precision={precision}", f"train.output_dir={name}", f"train.steps={self.steps}",
                     "train.global_batch=8", "train.step_memory_mb=1024", "data.heldout=", f"train.save_steps={self.steps}", "train.replica_check_every=2", *settings], min(200, self.report.left_s()),
                    OMPI_ALLOW_RUN_AS_ROOT="1", OMPI_ALLOW_RUN_AS_ROOT_CONFIRM="1", OMP_NUM_THREADS="1", OMPI_MCA_btl_vader_single_copy_mechanism="none")
        if ended.code != 0:
            missing = (comm == "nccl" or by_cudnn in settings) and any(words in ended.err for words in ("built without NCCL", "built without cuDNN", "cannot open shared object file", "on sm_90 only"))
            self.failure[name] = ("not run" if missing else self.report.state_of(ended), f"{name}: {ended.reason()}")
            return
        if by_cudnn in settings and "goes by own kernels" in ended.err:
            self.failure[name] = ("failed", f"{name}: " + next(line for line in ended.err.splitlines() if "goes by own kernels" in line))
            return
        with open(f"{name}/metrics.jsonl", encoding="utf-8") as lines:
            self.losses[name] = [record["loss"] for record in map(json.loads, lines) if "loss" in record]

    def compare(self, item, name, host, exact):
        """|loss - loss in f64| of every step. In bf16 at most four times the most that the CPU's own run in bf16 is away from f64, whose roundings are other draws of the same size: runs whose
        steps are a tenth too large, or that drop nothing, are farther away. By the formula below it would be most of a loss, which any run keeps. In f32, where the CPU's run may be near by
        chance, that or what rounding makes of a loss, whichever is more: a unit of 2^-24, times the root of the longest sum (a row for each of at most 512 tokens), times 8 for up to 64
        stages behind each other, times the condition: how much more than by a hundredth the loss in f64 changes when every step is a hundredth larger, and at least 1, the loss's own rounding."""
        failure = next((self.failure[r] for r in (exact, larger, host, name) if r in self.failure), None)
        if failure is not None:
            self.report.add(item, *failure)
            return
        runs = [self.losses[r] for r in (name, host, exact)]
        away, own = (max(abs(a - b) for a, b in zip(losses, runs[2], strict=True)) for losses in runs[:2])
        rounding = 0 if "bf16" in name else max(2**-24 * 512**0.5 * 8 * max(b, abs(a - b) / 0.01) for a, b in zip(self.losses[larger], runs[2], strict=True))
        learnt = len(runs[0]) == self.steps and runs[0][-1] < runs[0][0]
        allowed = max(4 * own, rounding)
        good = learnt and away <= allowed
        self.report.add(item, "passed" if good else "failed", f"loss {runs[0][0]:.4f} to {runs[0][-1]:.4f} in {len(runs[0])} steps, at most {away:.2e} from f64; the CPU's {own:.2e}, "
                        f"allowed {allowed:.2e}", losses=runs[0], losses_of_cpu=runs[1], losses_in_f64=runs[2])

    def beside(self, item, name, own, exact):
        """|loss - loss of the other run| of every step: at most four times the most that the other one, of the same precision, is away from f64. The two differ where attention rounds."""
        failure = next((self.failure[r] for r in (exact, own, name) if r in self.failure), None)
        if failure is not None:
            self.report.add(item, *failure)
            return
        runs = [self.losses[r] for r in (name, own, exact)]
        apart, away = (max(abs(a - b) for a, b in zip(a, b, strict=True)) for a, b in ((runs[0], runs[1]), (runs[1], runs[2])))
        good = len(runs[0]) == self.steps and 0 < apart <= 4 * away
        self.report.add(item, "passed" if good else "failed", f"losses of {len(runs[0])} steps at most {apart:.2e} apart; own attention {away:.2e} from f64", losses=runs[0], losses_of_own=runs[1], losses_in_f64=runs[2])

    def same_weights(self, item, names):
        failure = next((self.failure[r] for r in names if r in self.failure), None)
        if failure is not None:
            self.report.add(item, *failure)
            return
        first, second = (pathlib.Path(name, "model/model.safetensors").read_bytes() for name in names)
        self.report.add(item, "passed" if first == second else "failed", "equal bit for bit" if first == second else "the weights differ")


larger = "exact, larger steps"
by_cudnn = "attention=cudnn"


def training(report, quick):
    """A way for ranks to exchange is one more run here, and its comparison below. A rank that is alone sums nothing, so NCCL changes no bit there."""
    runs = Training(report, 6 if quick else 20)
    if not runs.ready:
        return
    for name, device, precision, ranks in (("exact", "cpu", "f64", 1), ("host-f32", "cpu", "f32", 1), ("host-bf16", "cpu", "bf16", 1), ("gpu-f32", "cuda", "f32", 1),
                                           ("gpu-f32-again", "cuda", "f32", 1), ("gpu-bf16", "cuda", "bf16", 1), ("gpu-shared", "cuda", "f32", 2)):
        runs.run(name, device, precision, ranks)
    runs.run(larger, "cpu", "f64", learning_rate=1.01e-3)
    plain = ("model.dropout=0",)  # cuDNN's own is not that of the CPU
    for name, device, precision, more in (("plain", "cpu", "f64", ()), ("plain-own-bf16", "cuda", "bf16", ("attention=own",)),
                                          ("plain-cudnn-bf16", "cuda", "bf16", (by_cudnn,)), ("plain-cudnn-bf16-again", "cuda", "bf16", (by_cudnn,))):
        runs.run(name, device, precision, settings=(*plain, *more))
    for name, more in (("dropped-cudnn-bf16", ()), ("dropped-cudnn-bf16-twice", ("train.keep_activations_mb=0",))):
        runs.run(name, "cuda", "bf16", settings=(by_cudnn, *more))
    runs.run("gpu-nccl", "cuda", "f32", comm="nccl")
    gpus = min(len(report.content["devices"]["cuda"]["gpus"]), 8)  # of a batch of 8
    runs.compare("training in f32", "gpu-f32", "host-f32", "exact")
    runs.compare("training in bf16", "gpu-bf16", "host-bf16", "exact")
    runs.beside("training by cuDNN beside own attention, bf16 without dropout", "plain-cudnn-bf16", "plain-own-bf16", "plain")
    runs.same_weights("the same training by cuDNN twice", ("plain-cudnn-bf16", "plain-cudnn-bf16-again"))
    runs.same_weights("training with cuDNN's own dropout, chunks kept and computed twice", ("dropped-cudnn-bf16", "dropped-cudnn-bf16-twice"))
    runs.compare("two ranks that share the GPU, staged", "gpu-shared", "host-f32", "exact")
    runs.same_weights("the same training twice", ("gpu-f32", "gpu-f32-again"))
    runs.same_weights("one rank by NCCL, as without", ("gpu-nccl", "gpu-f32"))
    if gpus > 1:
        runs.run("gpus-nccl", "cuda", "f32", gpus, "nccl")
        runs.compare(between_gpus, "gpus-nccl", "host-f32", "exact")
    else:
        report.add(between_gpus, "not run", "there is one GPU only")


def sanitizers(report, quick):
    """compute-sanitizer over the parity of operations, which are small. Races are looked for in our kernels only, not in cuBLASLt's and cuDNN's."""
    folders = [os.environ.get("CUDA_HOME", "") + "/bin", *glob.glob("/usr/local/cuda*/bin"), *(folder for p in sys.path for folder in glob.glob(f"{p}/nvidia/*/bin"))]
    program = shutil.which("compute-sanitizer") or shutil.which("compute-sanitizer", path=":".join(folders))
    for tool, tests in (("memcheck", core["operations"]), ("racecheck", without_libraries), ("synccheck", without_libraries)):
        name = f"compute-sanitizer {tool}"
        if quick or program is None or report.left_s() < 20:
            report.add(name, "not run", LEFT_OUT if quick else "there is no compute-sanitizer" if program is None else "the ten minutes are over")
            continue
        ended = run([program, "--tool", tool, "--error-exitcode", "9", shutil.which("core_tests"), f"--gtest_filter={tests}"], min(90, report.left_s()), **on_gpu)
        said = [line.strip("= ") for line in ended.out.splitlines() if line.startswith("=========") and ("ERROR" in line or "RACECHECK" in line or "Error" in line)]
        state = "passed" if ended.code == 0 else "not run" if ended.code is None and not said else "failed"
        report.add(name, state, said[-1] if said else "nothing was found" if ended.code == 0 else ended.reason(), seconds=ended.seconds, said=said[:20])


def check(report, quick):
    suites(report, "operations against the reference", "core_tests", "*Parity.*f32*:*Parity.*by_cudnn*" if quick else core["operations"], 150)
    suites(report, "encoder against PyTorch's values", "core_tests", "EncoderGolden.*InF32*" if quick else core["encoder"], 60)
    suites(report, "gradients of layers", "core_tests", core["layers"], 100)
    with report.item("training"):
        training(report, quick)
    suites(report, "losses", "losses_tests", golden_losses if quick else losses, 150)
    if quick:
        report.add("operations and encoder in other precisions, and the other losses", "not run", LEFT_OUT)
    with report.item("compute-sanitizer"):
        sanitizers(report, quick)


def main():
    parser = argparse.ArgumentParser(prog="gpu_check.sh", allow_abbrev=False)
    parser.add_argument("mode", choices=("properties", "check", "bench"))
    parser.add_argument("--report", default=None)
    parser.add_argument("--quick", action="store_true")
    given = parser.parse_args()
    report = Report(given.mode, os.path.abspath(given.report or f"gpu_{given.mode}.json"))
    report.save()  # a place that cannot be written to is said now
    ended = run(["lodestone", "devices"], 60)
    if ended.code != 0:
        report.add("lodestone devices", "failed", ended.reason())
        return report.write()
    report.content["devices"] = json.loads(ended.out)
    missing = report.content["devices"]["cuda"].get("missing")
    if missing:
        report.add("a GPU", "not run", missing)
        report.write()
        return NO_GPU
    with tempfile.TemporaryDirectory(prefix="lodestone-gpu-check-") as folder:
        os.chdir(folder)
        with report.item(given.mode):
            {"properties": properties, "check": check, "bench": bench}[given.mode](report, given.quick)
        os.chdir("/")
    return report.write()


if __name__ == "__main__":
    sys.exit(main())
