#!/usr/bin/env -S sh -c 'python="$("$(dirname "$0")/venv.sh")" && exec "$python" "$0" "$@"'
"""Writes tests/golden/mlm.safetensors: loss and gradients of a tiny seeded BertForMaskedLM, by transformers and PyTorch in f64.

Run:  tests/parity/make_mlm_golden.py [--check]
--check compares with the file instead of writing it. Dropout off; the loss is the mean cross-entropy of the masked tokens of all
texts. Texts are padded with a mask here and ragged in Lodestone. Token 0 is padding there, whose word gets no gradient as input;
no text holds it.
"""
import json
from pathlib import Path

import torch
import transformers
from transformers import BertConfig, BertForMaskedLM

from golden import write_or_check

GOLDEN = Path(__file__).resolve().parent.parent / "golden" / "mlm.safetensors"
CONFIG = dict(vocab_size=29, hidden_size=16, num_hidden_layers=2, num_attention_heads=4, intermediate_size=24,
              max_position_embeddings=12, type_vocab_size=2, hidden_act="gelu", layer_norm_eps=1e-12,
              hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0)
LENGTHS = [5, 3, 12, 7, 9]
MASK = 3


def compute():
    torch.set_num_threads(1)
    generator = torch.Generator().manual_seed(21)
    model = BertForMaskedLM(BertConfig(**CONFIG)).double()
    model.config._attn_implementation = "eager"
    with torch.no_grad():
        for name, p in model.named_parameters():
            p.copy_(torch.randn(p.shape, generator=generator, dtype=torch.float64) * 0.15 + (1.0 if "LayerNorm.weight" in name else 0.0))
    model.eval()
    lengths = torch.tensor(LENGTHS)
    texts = [torch.randint(4, CONFIG["vocab_size"], (n,), generator=generator) for n in LENGTHS]
    labels = [torch.where(torch.rand(n, generator=generator) < 0.4, text, -100) for n, text in zip(LENGTHS, texts)]
    for text, label in zip(texts, labels):
        label[0] = label[-1] = -100
        text[label >= 0] = MASK
    ids = torch.nn.utils.rnn.pad_sequence(texts, batch_first=True)
    wanted = torch.nn.utils.rnn.pad_sequence(labels, batch_first=True, padding_value=-100)
    mask = (torch.arange(ids.shape[1])[None] < lengths[:, None]).long()
    loss = model(input_ids=ids, attention_mask=mask, labels=wanted).loss
    loss.backward()
    plain = lambda name: name.removeprefix("bert.")
    named = dict(model.named_parameters())
    out = {"ids": torch.cat(texts).to(torch.int32), "labels": torch.cat(labels).to(torch.int32)}
    out |= {f"weight/{plain(name)}": p.detach().clone() for name, p in named.items()}
    out |= {f"gradient/{plain(name)}": p.grad.clone() for name, p in named.items()}
    metadata = {"config": json.dumps(CONFIG), "lengths": json.dumps(LENGTHS), "loss": repr(loss.item()),
                "made_by": f"torch {torch.__version__}, transformers {transformers.__version__}"}
    return out, metadata


if __name__ == "__main__":
    write_or_check(compute, GOLDEN, __doc__)
