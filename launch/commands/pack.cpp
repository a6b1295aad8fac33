// lodestone pack: text records in, a packed corpus out, in parallel over ranks.
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <limits>
#include <memory>
#include <new>
#include <optional>

#include "comm/require_same.h"
#include "data/checkpoints/run_lock.h"
#include "data/corpus/packer.h"
#include "data/files/durable.h"
#include "data/text/tokenizer.h"
#include "launch/command.h"
#include "launch/commands/packed.h"
#include "launch/config/input_options.h"
#include "launch/console/log.h"
#include "launch/console/progress.h"

namespace lodestone {

namespace fs = std::filesystem;

const char* const pack_usage =
    "usage: lodestone pack --tokenizer MODEL_FOLDER --output FOLDER [options] INPUT...\n"
    "       mpirun -np 4 lodestone pack ...\n\n"
    "Turns text records into a corpus of HDF5 shards that `lodestone train` reads. An INPUT is a file (.jsonl, .csv, .tsv, each\n"
    "also .gz), a folder of such files, or a BEIR folder. The corpus is the same whatever the number of ranks.\n\n"
    "  --format NAME         jsonl, csv, tsv or beir; auto goes by the name (default auto)\n"
    "  --source-field NAME   the field that names a row's source; default: source, else task, else FILE or FILE/type\n"
    "  --columns A,B,...     column names of tables, e.g. sentence1,sentence2,score\n"
    "  --header NAME         with --columns: yes when the first line of a table is a header, to be passed over; no when it is a row\n"
    "  --split NAME          which judgements of a BEIR folder: qrels/NAME.tsv (default train)\n"
    "  --on-bad-row POLICY   fail, or skip:N to leave out up to N bad rows, which the manifest then lists (default fail)\n"
    "  --max-tokens N        longer texts lose their end (default 8192)\n"
    "  --unit-mib N          size of the pieces that plain JSONL files are cut into; each becomes a shard (default 64)\n\n"
    "Fields: query (also anchor, sentence1, text, question); pos (also positive, positives, text_pos, sentence2, text_pair,\n"
    "answer); neg (also negative, negatives, text_neg, negative_1 ...); score, label, pos_scores, neg_scores, teacher_scores,\n"
    "answers, prompt, history, query_id, pos_index, neg_index. Other fields are ignored and named at the end.\n";

namespace {

constexpr double progress_period_s = 0.25, plain_period_s = 5;
constexpr int64_t no_unit = std::numeric_limits<int64_t>::max();

struct PackArguments {
  fs::path tokenizer, output;
  std::vector<fs::path> inputs;
  PackOptions options;
};

PackArguments parse(std::span<const std::string> arguments) {
  std::vector<std::string> names = input_option_names();
  names.insert(names.end(), {"--tokenizer", "--output", "--source-field", "--split", "--on-bad-row", "--max-tokens", "--unit-mib"});
  const Options given(arguments, "pack", names);
  if (given.positional().empty()) given.refuse("no input is given");
  for (const char* needed : {"--tokenizer", "--output"})
    if (given.text(needed, "").empty()) given.refuse(cat(needed, " is missing"));
  PackArguments a{.tokenizer = given.text("--tokenizer", ""),
                  .output = fs::path(given.text("--output", "")).lexically_normal(),
                  .inputs = {given.positional().begin(), given.positional().end()},
                  .options = {}};
  if (!a.output.has_filename()) a.output = a.output.parent_path();
  PackOptions& o = a.options;
  read_input_options(given, o.input);
  o.input.source_field = given.text("--source-field", o.input.source_field);
  o.input.split = given.text("--split", o.input.split);
  o.max_tokens = given.integer("--max-tokens", o.max_tokens, 1, 1 << 20);
  if (given.has("--unit-mib")) o.input.unit_bytes = given.integer("--unit-mib", 1, 1, 4096) << 20;
  o.allowed_bad_rows = allowed_bad_rows(given);
  return a;
}

// ---- the folder under way: OUTPUT.partial, renamed to OUTPUT when complete -------------------------------------------

struct Workplace {
  fs::path output, partial;
  fs::path stop_mark() const { return partial / "failed"; }
};

void require_free_output(const fs::path& output) {
  std::error_code ignored;
  if (path_exists(output / "manifest.json"))
    throw Error(ExitCode::usage, "exists", "the output is a packed corpus already", "choose another name or remove it")
        .at("file", output.string());
  if (path_exists(output) && !(fs::is_directory(output, ignored) && fs::is_empty(output, ignored)))
    throw Error(ExitCode::usage, "exists", "the output exists and is no empty folder", "choose another name or remove it")
        .at("file", output.string());
}

/// Removes what a pack that was killed left. Refuses what no pack wrote.
void empty_partial(const fs::path& partial) {
  std::vector<fs::path> found;
  std::error_code failure;
  for (auto entry = fs::directory_iterator(partial, failure); !failure && entry != fs::directory_iterator(); entry.increment(failure)) {
    const std::string name = entry->path().filename().string();
    if (name == "lock") continue;
    const bool ours = name.starts_with("shard-") || name.starts_with("write-test") || name == "manifest.json" || name == "failed";
    if (!ours || entry->is_directory(failure)) {
      fs::remove(partial / "lock", failure);
      throw Error(ExitCode::usage, "exists", cat("the folder for work under way holds what no pack wrote: ", name),
                  "move it away, or choose another output")
          .at("file", partial.string());
    }
    found.push_back(entry->path());
  }
  for (const fs::path& path : found) fs::remove(path, failure);
}

/// Removes the folder under way, if this job holds its lock; it goes out of sight first, so that a pack that begins meanwhile has
/// its own.
void discard(const Workplace& place, std::unique_ptr<RunLock>& lock) {
  if (!lock) return;
  std::error_code failure, ignored;
  fs::path doomed = place.partial;
  doomed += cat(".", ::getpid());
  fs::rename(place.partial, doomed, failure);
  fs::remove_all(failure ? place.partial : doomed, ignored);
  lock.reset();
}

/// Rank 0 makes the folder, so that errors of place come before any work. Whatever is written there is written under its lock.
std::unique_ptr<RunLock> open_workplace(const Workplace& place) {
  require_free_output(place.output);
  auto lock = std::make_unique<RunLock>(place.partial, "");
  empty_partial(place.partial);
  try {
    require_free_output(place.output);  // the job that held the lock may have published
    check_writable(place.partial);
  } catch (...) {
    discard(place, lock);
    throw;
  }
  return lock;
}

/// Gives the finished folder its name. The lock goes with it and is removed there, and released only then: a pack that waited for it
/// finds the corpus.
void publish(const Workplace& place, std::unique_ptr<RunLock>& lock) {
  std::error_code ignored;
  ::rmdir(place.output.c_str());  // an empty folder; anything else stays, and is refused
  publish_folder(place.partial, place.output, IfExists::refuse);
  fs::remove(place.output / "lock", ignored);
  lock.reset();
}

struct Stopped {};  // another rank failed

/// Packs this rank's units. Returns the failure of one of them, if any, and marks it for the other ranks.
std::optional<Error> pack_units(World& world, const Workplace& place, std::span<const WorkUnit> units, Packer& packer,
                                int64_t& failed_unit) {
  int64_t total = 0;
  for (const WorkUnit& unit : units)
    if (unit.index % world.size() == world.rank()) total += unit.bytes;
  Progress progress(world.size() == 1 ? "pack" : cat("pack (rank 0 of ", world.size(), ")"), total, world.rank() == 0);
  const double start = now_s();
  double shown = start, printed = start, looked = start;
  const auto tick = [&] {
    const double now = now_s();
    if (now - looked > progress_period_s && world.size() > 1) {
      looked = now;
      if (std::error_code ignored; fs::exists(place.stop_mark(), ignored)) throw Stopped();
    }
    if (now - shown < progress_period_s) return;
    shown = now;
    const bool plain = now - printed > plain_period_s;
    if (plain) printed = now;
    const PackCounts& counts = packer.counts();
    char rate[64];
    std::snprintf(rate, sizeof rate, "%.0f rows/s, %.1f MB/s", static_cast<double>(counts.rows) / (now - start),
                  static_cast<double>(counts.bytes) / 1e6 / (now - start));
    progress.show(counts.bytes, {cat(counts.rows, " rows"), rate}, plain ? Progress::Plain::print : Progress::Plain::skip);
  };
  std::optional<Error> failure;
  for (const WorkUnit& unit : units) {
    if (unit.index % world.size() != world.rank()) continue;
    try {
      packer.pack(unit, tick);
      continue;
    } catch (const Stopped&) {
      break;
    } catch (const Error& error) {
      failure = error;
    } catch (const std::bad_alloc&) {
      failure = Error(ExitCode::resource, "F14", "no memory while packing", "give the job more memory or use fewer ranks")
                    .at("file", unit.file.string());
    } catch (const fs::filesystem_error& error) {
      failure = as_error(error);
    }
    failed_unit = unit.index;
    // Without a mark, on a full disk, the other ranks hear of the failure when they have packed their own.
    if (std::FILE* mark = std::fopen(place.stop_mark().c_str(), "w")) std::fclose(mark);
    break;
  }
  progress.clear();
  return failure;
}

// ---- the end -----------------------------------------------------------------------------------------------------------

/// Fails on all ranks alike when they together left out more rows than allowed.
void check_bad_rows(const Manifest& manifest, int64_t allowed) {
  if (std::ssize(manifest.skipped) <= allowed) return;
  const SkippedRow& first = manifest.skipped[static_cast<size_t>(allowed)];
  throw Error(ExitCode::data, first.reason.substr(0, first.reason.find(' ')),
              cat(first.reason.substr(first.reason.find(' ') + 1), " (", manifest.skipped.size(), " bad rows in all)"),
              cat("correct the rows, or allow more than ", allowed, " with --on-bad-row skip:N"))
      .at("file", first.file)
      .at("line", first.line)
      .at("offset", first.offset);
}

/// Ends the packing when a rank failed: the folder is gone before the message appears. The rank of the first failing unit throws.
void settle_failures(World& world, const Workplace& place, std::unique_ptr<RunLock>& lock, const std::optional<Error>& failure,
                     int64_t failed_unit) {
  int64_t first = failed_unit;
  all_reduce(world.comm(), std::span(&first, 1), Reduce::min);
  if (first == no_unit) return;
  if (world.rank() == 0) discard(place, lock);
  world.comm().barrier();
  if (failure && failed_unit == first) throw *failure;
  world.comm().barrier();  // until the rank that failed ends all
}

/// The pieces that ranks share out must be the same on each: a file that grows meanwhile, or is another elsewhere, would lose rows.
void require_same_units(Communicator& comm, const Tokenizer& tokenizer, std::span<const WorkUnit> units) {
  std::string facts;
  for (const WorkUnit& u : units)
    facts += cat("unit ", u.index, ": ", u.file.string(), " bytes ", u.range.begin, " to ", u.range.end, " of ", u.bytes, "\n");
  const Fingerprint prints[] = {{.what = "tokenizer", .hash = tokenizer.fingerprint()}, {"inputs", checksum(facts), [&] { return facts; }}};
  require_same(comm, prints, {.remedy = "give every host the same files, and pack when they grow no more"});
}

}  // namespace

int run_pack(World& world, std::span<const std::string> arguments) {
  const PackArguments arguments_given = parse(arguments);
  const PackOptions& options = arguments_given.options;
  const double start = now_s();
  world.watchdog().set_limit(World::unequal_work_limit_s);
  Communicator& comm = world.comm();

  // 1. What is to be done: the same on all ranks.
  const Tokenizer tokenizer = Tokenizer::from_folder(arguments_given.tokenizer);
  const ShardSchema schema{tokenizer.vocab_size(), tokenizer.fingerprint()};
  const std::vector<WorkUnit> units = work_units(arguments_given.inputs, options.input);
  require_same_units(comm, tokenizer, units);
  const Workplace place{arguments_given.output, arguments_given.output.string() + ".partial"};
  std::unique_ptr<RunLock> lock;
  if (world.rank() == 0) lock = open_workplace(place);
  comm.barrier();

  // 2. Every rank packs every W-th unit. A failure is agreed on, so that one rank reports it and nothing is left behind.
  Tokenizer::Scratch scratch;
  Packer packer([&](std::string_view text, std::vector<int32_t>& ids) { tokenizer.encode(text, scratch, ids); }, schema, options,
                place.partial);
  int64_t failed_unit = no_unit;
  const std::optional<Error> failure = pack_units(world, place, units, packer, failed_unit);
  settle_failures(world, place, lock, failure, failed_unit);

  // 3. Gather what was made.
  const Packed packed = gather_packed(comm, packer);

  // 4. Rank 0 publishes: the manifest last, then the folder under its name.
  if (world.rank() == 0) {
    try {
      const Manifest manifest = make_manifest(schema, options, units, packed.shards, packed.skipped);
      check_bad_rows(manifest, options.allowed_bad_rows);
      if (manifest.rows() == 0)
        throw Error(ExitCode::data, "F39", "the inputs hold no rows", "check the inputs").at("file", arguments_given.inputs[0].string());
      write_new_file(place.partial / "manifest.json", to_text(manifest));
      publish(place, lock);
      print_summary(manifest, packed, std::max(now_s() - start, 1e-3), place.output);
    } catch (...) {
      discard(place, lock);
      throw;
    }
  }
  comm.barrier();
  return static_cast<int>(ExitCode::finished);
}

}  // namespace lodestone
