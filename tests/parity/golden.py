"""What the makers of golden tensors share: writing a file, or comparing with the one that is kept."""
import argparse

from safetensors.torch import load_file, save_file


def write_or_check(compute, path, description):
    """compute() -> (tensors by name, metadata). With --check the largest difference from `path` must be below 1e-12; otherwise writes it."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--check", action="store_true")
    arguments = parser.parse_args()
    tensors, metadata = compute()
    if not arguments.check:
        save_file({k: v.contiguous() for k, v in tensors.items()}, path, metadata=metadata)
        path.chmod(0o644)
        print(f"wrote {path}, {path.stat().st_size} bytes")
        return
    kept = load_file(path)
    assert kept.keys() == tensors.keys(), "tensor names differ"
    worst = max((kept[k].double() - tensors[k].double()).abs().max().item() for k in kept)
    print(f"largest difference {worst:.3g}")
    assert worst < 1e-12
