#!/usr/bin/env -S sh -c 'python="$("$(dirname "$0")/venv.sh")" && exec "$python" "$0" "$@"'
"""Writes tests/golden/encoder.safetensors: embeddings and gradients of a tiny seeded BERT, by transformers and PyTorch in f64.

Run:  tests/parity/make_encoder_golden.py [--check]
--check compares with the file instead of writing it. The loss is InfoNCE over 3 pairs (temperature 0.05, cosine, query to
passage), dropout off. Texts are padded with a mask here and ragged in Lodestone. Token 0 is padding there, which gets no gradient; no text holds it.
"""
import json
from pathlib import Path

import torch
import transformers
from transformers import BertConfig, BertModel

from golden import write_or_check

GOLDEN = Path(__file__).resolve().parent.parent / "golden" / "encoder.safetensors"
CONFIG = dict(vocab_size=29, hidden_size=16, num_hidden_layers=2, num_attention_heads=4, intermediate_size=24,
              max_position_embeddings=12, type_vocab_size=2, hidden_act="gelu", layer_norm_eps=1e-12,
              hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0)
LENGTHS = [5, 3, 12, 7, 1, 9]   # three queries, then their passages
CASES = {"mean": ("mean", None), "cls": ("cls", None), "last_token": ("last_token", None),
         "mean_dense": ("mean", "identity"), "cls_tanh": ("cls", "tanh")}
TEMPERATURE = 0.05


def make_model(generator):
    model = BertModel(BertConfig(**CONFIG), add_pooling_layer=False).double()
    model.config._attn_implementation = "eager"
    with torch.no_grad():
        for name, p in model.named_parameters():
            p.copy_(torch.randn(p.shape, generator=generator, dtype=torch.float64) * 0.15 + (1.0 if "LayerNorm.weight" in name else 0.0))
    return model.eval()


def pool(hidden, lengths, how):
    if how == "cls":
        return hidden[:, 0]
    if how == "last_token":
        return hidden[torch.arange(len(lengths)), lengths - 1]
    mask = (torch.arange(hidden.shape[1])[None] < lengths[:, None]).double()[..., None]
    return (hidden * mask).sum(1) / mask.sum(1)


def compute():
    torch.set_num_threads(1)
    generator = torch.Generator().manual_seed(20)
    model = make_model(generator)
    head = torch.randn(7, CONFIG["hidden_size"], generator=generator, dtype=torch.float64).mul(0.3).requires_grad_()
    bias = torch.randn(7, generator=generator, dtype=torch.float64).mul(0.3).requires_grad_()
    lengths = torch.tensor(LENGTHS)
    texts = [torch.randint(1, CONFIG["vocab_size"], (n,), generator=generator) for n in LENGTHS]
    ids = torch.nn.utils.rnn.pad_sequence(texts, batch_first=True)
    mask = (torch.arange(ids.shape[1])[None] < lengths[:, None]).long()
    named = {**dict(model.named_parameters()), "head.weight": head, "head.bias": bias}
    out = {"ids": torch.cat(texts).to(torch.int32)}
    out |= {f"weight/{name}": p.detach().clone() for name, p in named.items()}
    losses = {}
    for case, (pooling, dense) in CASES.items():
        for p in named.values():
            p.grad = None
        vectors = pool(model(input_ids=ids, attention_mask=mask).last_hidden_state, lengths, pooling)
        if dense:
            vectors = vectors @ head.T + bias
            vectors = torch.tanh(vectors) if dense == "tanh" else vectors
        vectors.retain_grad()
        unit = torch.nn.functional.normalize(vectors, dim=1)
        loss = torch.nn.functional.cross_entropy(unit[:3] @ unit[3:].T / TEMPERATURE, torch.arange(3))
        loss.backward()
        losses[case] = loss.item()
        out[f"{case}/embeddings"] = vectors.detach().clone()
        out[f"{case}/d_embeddings"] = vectors.grad.clone()
        out |= {f"{case}/gradient/{name}": p.grad.clone() for name, p in named.items() if p.grad is not None}
    metadata = {"config": json.dumps(CONFIG), "lengths": json.dumps(LENGTHS), "losses": json.dumps(losses),
                "temperature": str(TEMPERATURE), "made_by": f"torch {torch.__version__}, transformers {transformers.__version__}"}
    return out, metadata


if __name__ == "__main__":
    write_or_check(compute, GOLDEN, __doc__)
