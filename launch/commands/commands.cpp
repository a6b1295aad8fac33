// The table of subcommands: what `lodestone --help` lists.
#include "launch/command.h"

namespace lodestone {

std::vector<Command> commands(StopSignals& stop) {
  using enum Command::OnStop;
  using enum Command::Prints;
  return {
      {"train", "train a model: CONFIG.yaml [MORE.yaml ...] [key.path=value ...]", train_usage,
       [&stop](World& world, std::span<const std::string> arguments) { return run_train(world, stop, arguments); }, save, report,
       train_hang_limit_s},
      {"check", "check a configuration and print the plan of its first steps", check_usage, run_check, end, result},
      {"pack", "turn JSONL, CSV, TSV or BEIR data into HDF5 shards of token ids", pack_usage, run_pack},
      {"filter", "drop rows of JSON lines by score, length, language, block lists and other rules", filter_usage, run_filter},
      {"dedup", "drop rows of JSON lines that came before, exactly or nearly", dedup_usage, run_dedup},
      {"eval", "evaluate a model on a BEIR folder, scored pairs, lists of candidates or labelled texts", eval_usage, run_eval, end, result},
      {"average", "average results over the data sets of a benchmark", average_usage, run_average, end, result},
      {"grade", "grade the answers or log-probabilities of a language model", grade_usage, run_grade, end, result},
      {"encode", "write the embeddings of a text file", encode_usage, run_encode},
      {"export", "write a checkpoint, or another model folder, as a verified model folder", export_usage, run_export},
      {"merge", "mix the weights of several models, or of a run's checkpoints, into one model folder", merge_usage, run_merge},
      {"devices", "say where this machine could compute, and with which versions", devices_usage, run_devices, end, result},
      {"bench", "measure this machine and print JSON", bench_usage(), run_bench, end, result},
  };
}

}  // namespace lodestone
