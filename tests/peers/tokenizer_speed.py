#!/usr/bin/env -S sh -c 'python="$("$(dirname "$0")/../parity/venv.sh" tokenizers==0.23.3)" && exec "$python" "$0" "$@"'
"""How fast is our tokenizer beside Hugging Face's, in one run on one text, one after the other in turn?

  tests/peers/tokenizer_speed.py VOCAB.txt [TEXT_FILE...] [--megabytes 8] [--rounds 5] [--binary build/release/tokenize_texts]

Without files the text is English documentation of this machine. The peer runs at its best Python setting,
encode_batch_fast on lists of texts, once with TOKENIZERS_PARALLELISM=false (one thread) and once with its threads; ours is
one thread. Only the encoding is timed. Each round runs all three, and the ratios are taken within a round: thread against
thread in CPU seconds, which other work on the machine hardly changes, and in elapsed seconds; against the peer's threads in
elapsed seconds. Prints one JSON object with the median, smallest and largest ratio.
"""
import argparse
import glob
import json
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]


def documents():
    names = glob.glob("/usr/share/common-licenses/*") + glob.glob("/usr/share/perl/**/*.p[ol]d", recursive=True) + \
        glob.glob("/usr/share/doc/**/*", recursive=True)
    return [name for name in sorted(names) if os.path.isfile(name) and not name.endswith((".gz", ".png", ".pdf"))]


def paragraphs(files, size):
    texts, total = [], 0
    for name in files:
        for text in pathlib.Path(name).read_text("utf-8", "replace").split("\n\n"):
            text = " ".join(text.split())
            if len(text) >= 20:
                texts.append(text)
                total += len(text.encode())
            if total >= size:
                return texts
    return texts


def peer_process(vocab, texts_file):
    """A child: TOKENIZERS_PARALLELISM is read once per process. Encodes all texts for every line on its standard input."""
    import tokenizers
    from tokenizers import models, normalizers, pre_tokenizers
    ids = {token: i for i, token in enumerate(pathlib.Path(vocab).read_text("utf-8").split("\n")[:-1])}
    tokenizer = tokenizers.Tokenizer(models.WordPiece(ids, unk_token="[UNK]", max_input_chars_per_word=100))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.add_special_tokens(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"])
    texts = [text.decode() for text in pathlib.Path(texts_file).read_bytes().split(b"\xff")[:-1]]
    for _ in sys.stdin:
        count, start, cpu_start = 0, time.perf_counter(), time.process_time()
        for at in range(0, len(texts), 1000):
            count += sum(len(e.ids) for e in tokenizer.encode_batch_fast(texts[at:at + 1000], add_special_tokens=False))
        print(time.perf_counter() - start, time.process_time() - cpu_start, count, flush=True)


def start_peer(vocab, texts_file, parallelism):
    environment = {**os.environ, "TOKENIZERS_PARALLELISM": parallelism}
    return subprocess.Popen([sys.executable, __file__, "--peer", vocab, texts_file], env=environment, text=True,
                            stdin=subprocess.PIPE, stdout=subprocess.PIPE)


def numbers(line):
    seconds, cpu_seconds, count = line.split()
    return float(seconds), float(cpu_seconds), int(count)


def ask(peer):
    peer.stdin.write("again\n")
    peer.stdin.flush()
    return numbers(peer.stdout.readline())


def ours(binary, vocab, texts_file):
    """The median of eleven passes in one process: the peer, too, keeps its process."""
    out = subprocess.run([binary, "time", vocab, texts_file, "11"], check=True, capture_output=True, text=True).stdout
    passes = [numbers(line) for line in out.splitlines()]
    return statistics.median(p[0] for p in passes), statistics.median(p[1] for p in passes), passes[0][2]


def main():
    if sys.argv[1:2] == ["--peer"]:
        return peer_process(*sys.argv[2:])
    arguments = argparse.ArgumentParser()
    arguments.add_argument("vocab")
    arguments.add_argument("files", nargs="*")
    arguments.add_argument("--megabytes", type=float, default=8)
    arguments.add_argument("--rounds", type=int, default=5)
    arguments.add_argument("--binary", default=ROOT / "build" / "release" / "tokenize_texts")
    given = arguments.parse_args()
    texts = paragraphs(given.files or documents(), given.megabytes * 1e6)
    size = sum(len(text.encode()) for text in texts)
    rounds = []
    with tempfile.TemporaryDirectory() as folder:
        texts_file = os.path.join(folder, "texts")
        pathlib.Path(texts_file).write_bytes(b"".join(text.encode() + b"\xff" for text in texts))
        one, many = start_peer(given.vocab, texts_file, "false"), start_peer(given.vocab, texts_file, "true")
        for _ in range(given.rounds):
            row = ours(given.binary, given.vocab, texts_file), ask(one), ask(many)
            assert len({counts for _, _, counts in row}) == 1, f"numbers of ids differ: {row}"
            rounds.append(row)
        for peer in (one, many):
            peer.stdin.close()
            peer.wait()
    spread = lambda values: {"median": round(statistics.median(values), 2), "min": round(min(values), 2), "max": round(max(values), 2)}
    rate = lambda who, clock: spread([size / row[who][clock] / 1e6 for row in rounds])
    ratio = lambda who, clock: spread([row[who][clock] / row[0][clock] for row in rounds])
    print(json.dumps({"texts": len(texts), "bytes": size, "ids": rounds[0][0][2], "rounds": given.rounds,
                      "cpus": len(os.sched_getaffinity(0)),
                      "ours_mb_per_cpu_s": rate(0, 1), "peer_one_thread_mb_per_cpu_s": rate(1, 1), "peer_threads_mb_per_s": rate(2, 0),
                      "ratio_thread_to_thread_cpu": ratio(1, 1), "ratio_thread_to_thread_elapsed": ratio(1, 0),
                      "ratio_to_peer_threads_elapsed": ratio(2, 0)}, indent=1))


if __name__ == "__main__":
    main()
