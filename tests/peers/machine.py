"""What the peers scripts share: what this machine can do, and how programs are started on it."""
import os

# glibc keeps freed memory instead of faulting it in again at every step: PyTorch's best setting on CPUs.
KEEP_MEMORY = {"MALLOC_TOP_PAD_": "4294967296", "MALLOC_MMAP_MAX_": "0", "MALLOC_TRIM_THRESHOLD_": "17179869184"}


def has_bf16():
    return any(flag in open("/proc/cpuinfo").read() for flag in ("avx512_bf16", "amx_bf16"))


def better_precision():
    return "bf16" if has_bf16() else "f32"


def mpirun_environment():
    return os.environ | {"OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1"}
