"""How the gradients of one step are compared with PyTorch's: tensor by tensor in f64 and f32; in bf16 the whole gradient, whose error
against f64 may be 1.5 times that of PyTorch's own autocast."""
import json
import pathlib
import subprocess

import torch
from safetensors.torch import load_file

TOLERANCE = {"f64": 1e-9, "f32": 1e-4}


def norm(grads):
    return torch.sqrt(sum((g.double() ** 2).sum() for g in grads.values())).item()


def gradients_of(model):
    return {n: p.grad.detach().double().clone() for n, p in model.named_parameters() if p.grad is not None}


def dumped(program, model, request, precision, scratch):
    """What one of the *_dump programs makes of a request: its loss, and its tensors in f64."""
    (scratch / "input.json").write_text(json.dumps(request))
    out = pathlib.Path(scratch) / f"{precision}.safetensors"
    out.unlink(missing_ok=True)
    run = subprocess.run([program, model, scratch / "input.json", out, precision], check=True, capture_output=True, text=True)
    return float(run.stdout), {n: t.double() for n, t in load_file(out).items()}


def compare(precision, ours, exact, single, autocast, failures, floor=1e-4, judge_bf16=True):
    """`ours` against `exact` (f64), `single` (f32) or `autocast`, all by parameter. Returns what to report; adds to `failures`.

    Per tensor: ||g - g_ref|| <= tolerance * max(||g_ref||, floor ||whole gradient||): some gradients, as of key biases, are zero in
    theory and only rounding in practice."""
    if set(ours) != set(exact):
        failures.append(f"{precision}: tensors in one only: {sorted(set(ours) ^ set(exact))}")
    reference = single if precision == "f32" else exact
    whole = norm(reference)
    difference = {n: ours[n] - g for n, g in reference.items()}
    entry = {"gradient_error": norm(difference) / whole}
    if precision in TOLERANCE:
        worst = max((difference[n].norm() / max(g.norm(), floor * whole)).item() for n, g in reference.items())
        entry |= {"worst_tensor_error": worst, "tolerance": TOLERANCE[precision]}
        if not worst <= TOLERANCE[precision]:
            failures.append(f"{precision}: worst tensor {worst:.2e} > {TOLERANCE[precision]:.0e}")
        return entry
    theirs = norm({n: autocast[n] - g for n, g in exact.items()}) / whole
    entry |= {"autocast_error": theirs, "ratio": entry["gradient_error"] / theirs}
    if judge_bf16 and not entry["ratio"] <= 1.5:
        failures.append(f"bf16: error {entry['ratio']:.2f} times autocast's, more than 1.5")
    return entry
