#!/usr/bin/env -S sh -c 'python="$("$(dirname "$0")/venv.sh")" && exec "$python" "$0" "$@"'
"""Writes tests/golden/encoder_bf16.safetensors: a small seeded BERT, its gradient in f64, and how far PyTorch's own bf16 autocast
is from it.

Run:  tests/parity/make_bf16_golden.py [--check]
--check compares with the file instead of writing it. Both gradients are those of <d_embeddings, embeddings> with mean pooling and
dropout off; weights have the deviation of trained models (1 / sqrt(inputs)). Kept in f32, which is exact for the weights.
"""
import argparse
import copy
import json
from pathlib import Path

import torch
import transformers
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from transformers import BertConfig, BertModel

GOLDEN = Path(__file__).resolve().parent.parent / "golden" / "encoder_bf16.safetensors"
CONFIG = dict(vocab_size=101, hidden_size=64, num_hidden_layers=4, num_attention_heads=4, intermediate_size=256,
              max_position_embeddings=48, type_vocab_size=2, hidden_act="gelu", layer_norm_eps=1e-12,
              hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0)
LENGTHS = [37, 5, 21, 48, 12, 30, 9, 44]


def gradient(model, ids, mask, d_embeddings, autocast):
    model.zero_grad()
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=autocast):
        hidden = model(input_ids=ids, attention_mask=mask).last_hidden_state
    weight = mask.to(hidden.dtype)[..., None]
    embeddings = (hidden * weight).sum(1) / weight.sum(1)
    embeddings.backward(d_embeddings.to(embeddings.dtype))
    return embeddings.detach(), {name: p.grad.clone() for name, p in model.named_parameters()}


def error(ours, exact):
    difference = sum(((ours[k].double() - exact[k]) ** 2).sum() for k in exact)
    return (difference / sum((exact[k] ** 2).sum() for k in exact)).sqrt().item()


def compute():
    generator = torch.Generator().manual_seed(21)
    model = BertModel(BertConfig(**CONFIG), add_pooling_layer=False).eval()
    with torch.no_grad():
        for name, p in model.named_parameters():
            deviation = 0.05 if p.dim() == 1 or "embeddings" in name else p.shape[1] ** -0.5
            p.copy_(torch.randn(p.shape, generator=generator) * deviation + (1.0 if "LayerNorm.weight" in name else 0.0))
    lengths = torch.tensor(LENGTHS)
    texts = [torch.randint(1, CONFIG["vocab_size"], (n,), generator=generator) for n in LENGTHS]
    ids = torch.nn.utils.rnn.pad_sequence(texts, batch_first=True)
    mask = (torch.arange(ids.shape[1])[None] < lengths[:, None]).long()
    d_embeddings = torch.randn(len(LENGTHS), CONFIG["hidden_size"], generator=generator)
    exact_embeddings, exact = gradient(copy.deepcopy(model).double(), ids, mask, d_embeddings, autocast=False)
    cast_embeddings, cast = gradient(model, ids, mask, d_embeddings, autocast=True)
    out = {"ids": torch.cat(texts).to(torch.int32), "d_embeddings": d_embeddings, "embeddings": exact_embeddings.float()}
    out |= {f"weight/{name}": p.detach().clone() for name, p in model.named_parameters()}
    out |= {f"gradient/{name}": g.float() for name, g in exact.items()}
    metadata = {"config": json.dumps(CONFIG), "lengths": json.dumps(LENGTHS),
                "autocast_gradient_error": repr(error(cast, exact)),
                "autocast_embedding_error": repr(error({"e": cast_embeddings}, {"e": exact_embeddings})),
                "made_by": f"torch {torch.__version__}, transformers {transformers.__version__}"}
    return out, metadata


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true")
    arguments = parser.parse_args()
    tensors, metadata = compute()
    print("autocast: gradient error", metadata["autocast_gradient_error"], "embedding error", metadata["autocast_embedding_error"])
    if not arguments.check:
        save_file({k: v.contiguous() for k, v in tensors.items()}, GOLDEN, metadata=metadata)
        GOLDEN.chmod(0o644)
        print(f"wrote {GOLDEN}, {GOLDEN.stat().st_size} bytes")
        return
    kept = load_file(GOLDEN)
    assert kept.keys() == tensors.keys(), "tensor names differ"
    worst = max((kept[k].double() - tensors[k].double()).abs().max().item() for k in kept)
    with safe_open(GOLDEN, "pt") as file:
        before = float(file.metadata()["autocast_gradient_error"])
    print(f"largest difference {worst:.3g}; autocast gradient error when the file was made {before:.4g}")
    assert worst < 1e-5


if __name__ == "__main__":
    main()
