#!/usr/bin/env -S sh -c 'python="$("$(dirname "$0")/venv.sh")" && exec "$python" "$0" "$@"'
"""Writes tests/golden/reranker.safetensors: scores, losses and gradients of a tiny seeded BertForSequenceClassification in f64.

Run:  tests/parity/make_reranker_golden.py [--check]
--check compares with the file instead of writing it. Six pairs [CLS] q [SEP] p [SEP] of two queries in groups of three, the positive
first; group cross-entropy and binary cross-entropy by PyTorch; dropout off. Pairs are padded with a mask here and ragged in
Lodestone; token 0 is padding, no pair holds it.
"""
import json
from pathlib import Path

import torch
import transformers
from transformers import BertConfig, BertForSequenceClassification

from golden import write_or_check

GOLDEN = Path(__file__).resolve().parent.parent / "golden" / "reranker.safetensors"
CONFIG = dict(vocab_size=23, hidden_size=8, num_hidden_layers=2, num_attention_heads=2, intermediate_size=12,
              max_position_embeddings=16, type_vocab_size=2, hidden_act="gelu", layer_norm_eps=1e-12)
QUERIES = [3, 5]                        # tokens of each query,
PASSAGES = [4, 1, 7, 2, 8, 6]           # and of its three passages
GROUP = 3


def compute():
    torch.set_num_threads(1)
    generator = torch.Generator().manual_seed(21)
    config = BertConfig(**CONFIG, hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0, num_labels=1)
    model = BertForSequenceClassification(config).double().eval()
    model.config._attn_implementation = "eager"
    with torch.no_grad():
        for name, p in model.named_parameters():
            p.copy_(torch.randn(p.shape, generator=generator, dtype=torch.float64) * 0.4 + (1.0 if "LayerNorm.weight" in name else 0.0))
    text = lambda n: torch.randint(3, CONFIG["vocab_size"], (n,), generator=generator)
    cls, sep = torch.tensor([1]), torch.tensor([2])
    queries = [text(n) for n in QUERIES]
    pairs, second = [], []
    for i, n in enumerate(PASSAGES):
        query = queries[i // GROUP]
        pairs.append(torch.cat([cls, query, sep, text(n), sep]))
        second.append(len(query) + 2)
    lengths = torch.tensor([len(p) for p in pairs])
    ids = torch.nn.utils.rnn.pad_sequence(pairs, batch_first=True)
    places = torch.arange(ids.shape[1])[None]
    mask = (places < lengths[:, None]).long()
    types = (places >= torch.tensor(second)[:, None]).long() * mask
    out = {"ids": torch.cat(pairs).to(torch.int32)}
    out |= {f"weight/{name}": p.detach().clone() for name, p in model.named_parameters()}
    losses = {}
    target = torch.zeros(len(PASSAGES), dtype=torch.float64)
    target[::GROUP] = 1
    for case, loss_of in {"group_ce": lambda s: torch.nn.functional.cross_entropy(s.view(-1, GROUP), torch.zeros(len(QUERIES), dtype=torch.long)),
                          "bce": lambda s: torch.nn.functional.binary_cross_entropy_with_logits(s, target)}.items():
        model.zero_grad()
        scores = model(input_ids=ids, attention_mask=mask, token_type_ids=types).logits[:, 0]
        loss = loss_of(scores)
        loss.backward()
        losses[case] = loss.item()
        out["scores"] = scores.detach().clone()
        out |= {f"{case}/{name}": p.grad.clone() for name, p in model.named_parameters()}
    metadata = {"config": json.dumps(CONFIG), "lengths": json.dumps(lengths.tolist()), "second": json.dumps(second), "group": str(GROUP),
                "losses": json.dumps(losses), "made_by": f"torch {torch.__version__}, transformers {transformers.__version__}"}
    return out, metadata


if __name__ == "__main__":
    write_or_check(compute, GOLDEN, __doc__)
