// lodestone encode: the embeddings of a text file, one text a line, as a matrix for NumPy or HDF5.
#include <cstdio>

#include "data/models/reranker_folder.h"
#include "data/plan/plan.h"
#include "data/records/texts.h"
#include "launch/command.h"
#include "launch/console/log.h"
#include "launch/console/progress.h"
#include "launch/inference/matrix_file.h"
#include "launch/inference/model_options.h"
#include "launch/inference/same_work.h"

namespace lodestone {

const char* const encode_usage =
    R"(usage: lodestone encode MODEL_FOLDER --input TEXTS.txt|TEXTS.jsonl --output OUT.npy|OUT.h5 [options]

Writes the embeddings of a file's texts (plain or .gz) as a float32 matrix: .npy for numpy.load; .h5 or .hdf5 with one contiguous
dataset "embeddings" of shape [texts, dimensions]. Of a text file row i is line i, and an empty line has a row too; of JSON
lines row i is the text of object i.
Under mpirun every rank embeds a share and writes its rows.

  --format NAME        auto (jsonl for .jsonl, .ndjson and .json, else text), text: one a line, jsonl: one JSON object a line (auto)
  --field NAME         the field of JSON lines that holds the text (text)
  --prompt TEXT        put before every text (the model folder's default prompt)
  --max-len N          tokens of a text (what the model folder says)
  --precision NAME     f32, bf16 or f64 (f32)
  --device NAME        where to compute: auto (the CPU), cpu or cuda (auto)
  --attention NAME     on a GPU: auto (cuDNN in bf16, where it is there), own or cudnn (auto)
  --threads N          threads of each rank (the cores it may use)
  --chunk-tokens N     tokens that pass the encoder at once (2048)
  --dimensions N       leading components of a vector that are kept, as a model trained with loss.mrl_dims allows (all)
)";

namespace {

constexpr int64_t block_texts = 2048;

}  // namespace

int run_encode(World& world, std::span<const std::string> arguments) {
  world.watchdog().set_limit(World::unequal_work_limit_s);
  std::vector<std::string> names = model_option_names();
  names.insert(names.end(), {"--input", "--output", "--prompt", "--format", "--field"});
  const Options options(arguments, "encode", names);
  if (options.positional().size() != 1) options.refuse("give one model folder");
  for (const char* needed : {"--input", "--output"})
    if (!options.has(needed)) options.refuse(cat(needed, " is missing"));
  const std::filesystem::path output = options.text("--output", "");
  if (!is_matrix_file(output)) options.refuse(cat("--output is ", output.string(), ", not a .npy, .h5 or .hdf5 file"));

  const TextFormat format = options.choice("--format", options.has("--field") ? TextFormat::jsonl : TextFormat::automatic);
  if (options.has("--field") && format != TextFormat::jsonl)
    options.refuse("--field names a field of JSON lines: give --format jsonl, or leave it out");

  const std::filesystem::path folder = options.positional()[0];
  if (is_reranker_folder(folder)) options.refuse("this is a reranker, which gives no vectors: score rows with eval --rerank");

  const std::vector<std::string> texts = read_texts(options.text("--input", ""), format, options.text("--field", "text"));
  const std::unique_ptr<Backend> backend = open_backend(options, world);
  LoadedModel model(folder, model_options(options), *backend);
  if (world.rank() == 0) print_warnings(model.warnings());
  model.require_same_on(world.comm());
  require_same_texts(world.comm(), std::vector<std::string_view>(texts.begin(), texts.end()), "texts");
  const std::string prompt = options.text("--prompt", model.prompt(""));
  model.embedder().require_room(prompt);
  const int64_t width = model.embedder().embedding(), count = static_cast<int64_t>(texts.size());
  MatrixFile file(output, count, width, world.comm());
  const RankRows mine = rank_rows(count, world.rank(), world.size());
  Progress progress("texts", mine.end - mine.begin, world.rank() == 0);
  const double start_s = now_s();
  std::vector<float> vectors;
  for (int64_t begin = mine.begin; begin < mine.end; begin += block_texts) {
    const int64_t end = std::min(mine.end, begin + block_texts);
    const std::vector<std::string_view> block(texts.begin() + begin, texts.begin() + end);
    vectors.resize(static_cast<size_t>((end - begin) * width));
    model.embedder().embed(model.exec(), block, prompt, vectors);
    file.write(begin, vectors);
    progress.show(end - mine.begin, {}, Progress::Plain::skip);
  }
  file.publish();
  progress.clear();
  if (world.rank() == 0)
    std::printf("%lld texts, %lld dimensions, %.1f s: %s\n", static_cast<long long>(count), static_cast<long long>(width),
                now_s() - start_s, printable(output.string()).c_str());
  return 0;
}

}  // namespace lodestone
