#!/usr/bin/env python3
"""The peers of gpu_speed.py, each in a process of its own: a line when it is warm, then a few steps and a line for every line that it is sent.

usage: gpu_peers.py stock|tuned SHAPE     the shape as gpu_speed.py writes it

  stock  a SentenceTransformer of that shape with MultipleNegativesRankingLoss: autocast to bf16, attention by
         scaled_dot_product_attention, all queries padded to the longest one and all passages too, fused AdamW
  tuned  an encoder of packed tokens: torch.compile, one product for queries, keys and values, varlen_attn where this torch has it on this
         device (it drops no probabilities, which saves work) and otherwise padded attention, fused AdamW, texts sorted by length in
         chunks of so many tokens. Before it is timed it must give what transformers' BertModel gives.
"""
import json
import os
import random
import sys
import tempfile
import time

MODELS = {
    "minilm": {"hidden_size": 384, "num_hidden_layers": 6, "num_attention_heads": 12, "intermediate_size": 1536},
    "bert-base": {"hidden_size": 768, "num_hidden_layers": 12, "num_attention_heads": 12, "intermediate_size": 3072},
    "bert-large": {"hidden_size": 1024, "num_hidden_layers": 24, "num_attention_heads": 16, "intermediate_size": 4096},
}
VOCABULARY, TEMPERATURE = 30522, 0.05


class Missing(Exception):
    """Why this peer cannot run here."""


def packages(*names):
    """The modules of these names."""
    found = []
    for name in names:
        try:
            found.append(__import__(name))
        except ImportError as error:
            raise Missing(f"there is no {name} in {sys.executable} ({error})") from error
    return found


def random_ids(torch, lengths):
    return [torch.randint(1000, VOCABULARY, (length,)) for length in lengths]


def bert_config(shape, **more):
    from transformers import BertConfig
    return BertConfig(vocab_size=VOCABULARY, hidden_dropout_prob=shape["dropout"], attention_probs_dropout_prob=shape["dropout"], attn_implementation="sdpa", **MODELS[shape["model"]], **more)


class Stock:
    def __init__(self, shape):
        torch, transformers, st = packages("torch", "transformers", "sentence_transformers")
        self.torch = torch
        with tempfile.TemporaryDirectory() as folder:
            transformers.BertModel(bert_config(shape), add_pooling_layer=False).save_pretrained(folder)
            words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
            with open(f"{folder}/vocab.txt", "w", encoding="utf-8") as file:
                file.write("\n".join(words + [f"w{i}" for i in range(VOCABULARY - len(words))]) + "\n")
            with open(f"{folder}/tokenizer_config.json", "w", encoding="utf-8") as file:
                json.dump({"tokenizer_class": "BertTokenizer", "model_max_length": 512}, file)
            self.model = st.SentenceTransformer(folder, device=shape["device"], model_kwargs={"attn_implementation": "sdpa"}).train()
        try:
            from sentence_transformers.sentence_transformer.losses import MultipleNegativesRankingLoss
        except ImportError:
            from sentence_transformers.losses import MultipleNegativesRankingLoss
        self.loss = MultipleNegativesRankingLoss(self.model, scale=1 / TEMPERATURE)
        self.features = [self.padded(shape[role], shape["device"]) for role in ("queries", "passages")]
        self.padded_tokens = sum(f["input_ids"].numel() for f in self.features)
        self.settings = {"torch": torch.__version__, "sentence_transformers": st.__version__, "attention": "scaled_dot_product_attention", "padding": "to the longest query, and passage",
                         "optimizer": "AdamW, fused", "precision": "autocast to bf16" if shape["precision"] == "bf16" else "f32"}

    def padded(self, lengths, device):
        torch = self.torch
        ids = torch.zeros(len(lengths), max(lengths), dtype=torch.long)
        for row, text in zip(ids, random_ids(torch, lengths)):
            row[:len(text)] = text
        mask = torch.arange(max(lengths))[None] < torch.tensor(lengths)[:, None]
        return {"input_ids": ids.to(device), "attention_mask": mask.long().to(device), "token_type_ids": torch.zeros_like(ids).to(device)}

    def parameters(self):
        return self.model.parameters()

    def value(self):
        return self.loss([dict(f) for f in self.features], None)


def packed_encoder(torch, config):
    """BERT over packed tokens, without what takes part in no sentence vector."""
    nn, heads, size = torch.nn, config.num_attention_heads, config.hidden_size // config.num_attention_heads

    class Layer(nn.Module):
        def __init__(self):
            super().__init__()
            h = config.hidden_size
            self.qkv, self.out = nn.Linear(h, 3 * h), nn.Linear(h, h)
            self.up, self.down = nn.Linear(h, config.intermediate_size), nn.Linear(config.intermediate_size, h)
            self.norms = nn.ModuleList(nn.LayerNorm(h, eps=config.layer_norm_eps) for _ in range(2))
            self.drop = nn.Dropout(config.hidden_dropout_prob)

        def forward(self, x, attend, chunk):
            q, k, v = self.qkv(x).view(-1, 3, heads, size).unbind(1)
            x = self.norms[0](x + self.drop(self.out(attend(q, k, v, chunk).reshape(x.shape))))
            return self.norms[1](x + self.drop(self.down(nn.functional.gelu(self.up(x)))))

    class Encoder(nn.Module):
        def __init__(self):
            super().__init__()
            h = config.hidden_size
            self.words, self.positions, self.types = nn.Embedding(config.vocab_size, h), nn.Embedding(config.max_position_embeddings, h), nn.Embedding(2, h)
            self.norm, self.drop = nn.LayerNorm(h, eps=config.layer_norm_eps), nn.Dropout(config.hidden_dropout_prob)
            self.attend = None  # of packed queries, keys and values [tokens, heads, size], and the chunk
            self.layers = nn.ModuleList(Layer() for _ in range(config.num_hidden_layers))
            for p in self.parameters():
                if p.dim() == 2:
                    nn.init.normal_(p, std=config.initializer_range)

        def forward(self, chunk):
            """Mean vectors of the chunk's texts."""
            x = self.drop(self.norm(self.words(chunk["ids"]) + self.positions(chunk["place"]) + self.types.weight[0]))
            for layer in self.layers:
                x = layer(x, self.attend, chunk)
            sums = torch.zeros(chunk["lengths"].shape[0], x.shape[1], device=x.device).index_add(0, chunk["text"], x.float())
            return sums / chunk["lengths"][:, None]

    return Encoder()


def load_bert(encoder, bert):
    """Sets the packed encoder's weights to those of transformers' BertModel."""
    torch, e = sys.modules["torch"], bert.embeddings
    with torch.no_grad():
        for mine, theirs in ((encoder.words, e.word_embeddings), (encoder.positions, e.position_embeddings), (encoder.types, e.token_type_embeddings), (encoder.norm, e.LayerNorm)):
            mine.load_state_dict(theirs.state_dict())
        for mine, theirs in zip(encoder.layers, bert.encoder.layer):
            a = theirs.attention
            for kind in ("weight", "bias"):
                getattr(mine.qkv, kind).copy_(torch.cat([getattr(part, kind) for part in (a.self.query, a.self.key, a.self.value)]))
            for one, other in ((mine.out, a.output.dense), (mine.norms[0], a.output.LayerNorm), (mine.up, theirs.intermediate.dense), (mine.down, theirs.output.dense), (mine.norms[1], theirs.output.LayerNorm)):
                one.load_state_dict(other.state_dict())


class Tuned:
    def __init__(self, shape):
        torch, transformers = packages("torch", "transformers")
        self.torch, self.shape = torch, shape
        self.varlen = self.varlen_attention()
        config = bert_config(shape)
        lengths = shape["queries"] + shape["passages"]
        self.queries, self.longest = len(shape["queries"]), max(lengths)
        self.encoder = packed_encoder(torch, config).to(shape["device"])
        self.require_bert(transformers)
        self.encoder.train()
        self.encode = self.encoder
        order = sorted(range(len(lengths)), key=lambda i: lengths[i])
        self.chunks = [self.chunk([lengths[i] for i in part]) for part in self.by_tokens(order, lengths)]
        self.back = torch.tensor(order).argsort().to(shape["device"])
        self.padded_tokens = sum(c["ids"].numel() if self.varlen else c["mask"].numel() for c in self.chunks)
        self.settings = {"torch": torch.__version__, "attention": "varlen_attn, which drops nothing" if self.varlen else "scaled_dot_product_attention over padded chunks",
                         "compile": self.compiled(), "chunk_tokens": shape["chunk_tokens"], "optimizer": "AdamW, fused", "precision": "autocast to bf16" if shape["precision"] == "bf16" else "f32"}

    def varlen_attention(self):
        if self.shape["device"] != "cuda" or self.shape["precision"] != "bf16":
            return None
        try:
            from torch.nn.attention.varlen import varlen_attn
        except ImportError:
            return None
        return varlen_attn

    def by_tokens(self, order, lengths):
        """Runs of texts that have at most so many tokens together."""
        runs, tokens = [[]], 0
        for i in order:
            if runs[-1] and tokens + lengths[i] > self.shape["chunk_tokens"]:
                runs.append([])
                tokens = 0
            runs[-1].append(i)
            tokens += lengths[i]
        return runs

    def chunk(self, lengths, ids=None):
        torch, device = self.torch, self.shape["device"]
        of_text = torch.tensor(lengths)
        mask = torch.arange(max(lengths))[None] < of_text[:, None]
        found = {"ids": torch.cat(ids or random_ids(torch, lengths)), "place": mask.cumsum(1)[mask] - 1, "text": torch.arange(len(lengths)).repeat_interleave(of_text),
                 "lengths": of_text, "ends": torch.cat([torch.zeros(1, dtype=torch.int32), of_text.cumsum(0).int()]), "mask": mask}
        return {name: value.to(device) for name, value in found.items()}

    def padded(self, q, k, v, chunk):
        mask, text, place = chunk["mask"], chunk["text"], chunk["place"]
        q, k, v = (x.new_zeros(*mask.shape, *x.shape[1:]).index_put((text, place), x).transpose(1, 2) for x in (q, k, v))
        drop_p = self.shape["dropout"] if self.encoder.training else 0.0
        return self.torch.nn.functional.scaled_dot_product_attention(q, k, v, attn_mask=mask[:, None, None, :], dropout_p=drop_p).transpose(1, 2)[text, place]

    def packed(self, q, k, v, chunk):
        return self.varlen(q, k, v, chunk["ends"], chunk["ends"], self.longest, self.longest)

    def compiled(self):
        """The encoder compiled, where a first pass shows that it can be. Returns what stands in the settings."""
        if not self.shape["compile"]:
            return "no"
        self.encode = self.torch.compile(self.encoder, dynamic=True)
        try:
            with self.torch.autocast(self.shape["device"], dtype=self.torch.bfloat16, enabled=self.shape["precision"] == "bf16"):
                self.value().backward()
        except Exception as error:  # of any kind: the compiler's, the driver's
            self.encode = self.encoder
            return f"no: {type(error).__name__}: {(str(error).splitlines() or [''])[0]}"
        return "yes, of any shape"

    def require_bert(self, transformers):
        """The same vectors as BertModel's: in f32 by padded attention, where rounding through so many layers is below 1e-4 of a unit vector, and a GPU's TF32 below 1e-3; in bf16 by varlen_attn
        within a cosine of 0.999."""
        torch, unit = self.torch, self.torch.nn.functional.normalize
        bert = transformers.BertModel(bert_config(self.shape), add_pooling_layer=False).to(self.shape["device"]).eval()
        load_bert(self.encoder.eval(), bert)
        lengths = [min(n, self.longest) for n in (3, 7, 1, 12)]
        ids = random_ids(torch, lengths)
        chunk = self.chunk(lengths, ids)
        with torch.no_grad():
            theirs = unit(torch.stack([bert(input_ids=text[None].to(self.shape["device"])).last_hidden_state[0].mean(0) for text in ids]), dim=1)
            self.encoder.attend = self.padded
            apart = (unit(self.encoder(chunk), dim=1) - theirs).abs().max().item()
            if not apart < (1e-4 if self.shape["device"] == "cpu" else 1e-3):
                raise Missing(f"the packed encoder's vectors are {apart:.1e} from BertModel's")
            if self.varlen:
                self.encoder.attend = self.packed
                with torch.autocast(self.shape["device"], dtype=torch.bfloat16):
                    cosine = (unit(self.encoder(chunk), dim=1) * theirs).sum(1).min().item()
                if not cosine > 0.999:
                    raise Missing(f"vectors by varlen_attn have a cosine of {cosine:.4f} with BertModel's")

    def parameters(self):
        return self.encoder.parameters()

    def value(self):
        f = self.torch.nn.functional
        unit = f.normalize(self.torch.cat([self.encode(c) for c in self.chunks])[self.back], dim=1)
        return f.cross_entropy(unit[:self.queries] @ unit[self.queries:].T / TEMPERATURE, self.torch.arange(self.queries, device=unit.device))


def main():
    name, shape = sys.argv[1], json.loads(sys.argv[2])
    lines = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what libraries print is no answer

    def say(**facts):
        print(json.dumps(facts), file=lines, flush=True)

    try:
        torch, = packages("torch")
        gpu = shape["device"] == "cuda"
        if gpu and not torch.cuda.is_available():
            raise Missing("torch sees no GPU")
        if not gpu:
            torch.set_num_threads(1)  # as ours has there
        torch.manual_seed(1)
        random.Random(1).shuffle(shape["passages"])  # bench's order is no order of lengths; pairs keep no order of theirs
        random.Random(2).shuffle(shape["queries"])
        peer = {"stock": Stock, "tuned": Tuned}[name](shape)
        optimizer = torch.optim.AdamW(peer.parameters(), lr=1e-5, fused=True)

        def step():
            start = time.perf_counter()
            optimizer.zero_grad()
            with torch.autocast(shape["device"], dtype=torch.bfloat16, enabled=shape["precision"] == "bf16"):
                value = peer.value()
            value.backward()
            torch.nn.utils.clip_grad_norm_(peer.parameters(), 1.0)
            optimizer.step()
            if gpu:
                torch.cuda.synchronize()
            return time.perf_counter() - start

        for _ in range(3):
            step()
        say(settings=peer.settings)
        for _ in sys.stdin:
            step()  # the clock of a GPU that waited is low
            seconds = [step() for _ in range(shape["steps"])]
            say(step_s=seconds, padded_tokens=peer.padded_tokens, peak_gpu_bytes=torch.cuda.max_memory_reserved() if gpu else 0)
            if gpu:
                torch.cuda.empty_cache()  # others have their turn
    except Missing as reason:
        say(missing=str(reason))
    except Exception as error:  # whatever it is: the other programs are still worth their time
        say(missing=f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}")


if __name__ == "__main__":
    main()
