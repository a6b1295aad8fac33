#!/usr/bin/env python3
"""Writes a tiny run into the present folder: vocab/, config.json (2 layers of 32), train.jsonl (400 pairs), heldout.jsonl (40) and run.yaml
(10 steps of 16 pairs, a checkpoint at 5).

usage: tiny_run.py
"""
import json
import os
import random

random.seed(7)
letters = "abcdefghijklmnopqrstuvwxyz"
words = ["".join(random.choice(letters) for _ in range(random.randint(3, 7))) for _ in range(300)]
tokens = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"] + sorted(set(words)) + list(letters) + ["##" + c for c in letters]
model = {"model_type": "bert", "architectures": ["BertModel"], "vocab_size": len(tokens), "hidden_size": 32, "num_hidden_layers": 2,
         "num_attention_heads": 2, "intermediate_size": 64, "hidden_act": "gelu", "hidden_dropout_prob": 0.1,
         "attention_probs_dropout_prob": 0.1, "max_position_embeddings": 64, "type_vocab_size": 2, "initializer_range": 0.05,
         "layer_norm_eps": 1e-12}
run = """model: {config: config.json, vocab: vocab, pooling: mean}
data: {train: corpus, heldout: heldout, query_max_len: 32, passage_max_len: 32}
train: {output_dir: run, global_batch: 16, steps: 10, precision: f32, threads: 1, chunk_tokens: 128, logging_steps: 1, save_steps: 5, eval_steps: 5}
optim: {learning_rate: 1e-3}
"""


def row(i):
    topic = random.sample(words, 6)
    return {"query": " ".join(topic[:3]), "pos": [" ".join(topic + random.sample(words, random.randint(1, 10)))], "source": "ab"[i % 2]}


def write(path, text):
    with open(path, "w", encoding="utf-8") as file:
        file.write(text)


os.mkdir("vocab")
write("vocab/vocab.txt", "\n".join(tokens) + "\n")
write("vocab/tokenizer_config.json", json.dumps({"do_lower_case": True, "tokenizer_class": "BertTokenizer"}))
write("config.json", json.dumps(model))
write("train.jsonl", "".join(json.dumps(row(i)) + "\n" for i in range(400)))
write("heldout.jsonl", "".join(json.dumps(row(i)) + "\n" for i in range(40)))
write("run.yaml", run)
