#include "launch/run.h"

#include <algorithm>
#include <iomanip>
#include <sstream>

namespace lodestone {

namespace {

ModelFolder folder_of(const RunConfig& c) {
  ModelFolder f = c.model.folder.empty() ? read_model_config(c.model.config) : read_model_folder(c.model.folder);
  if (c.model.pooling) f.config.pooling = *c.model.pooling;
  if (c.model.dropout >= 0) f.config.encoder.hidden_dropout = f.config.encoder.attention_dropout = c.model.dropout;
  if (c.model.head > 0) f.config.head = HeadConfig{.out_features = c.model.head};
  if (!c.data.query_prompt.empty()) f.prompts["query"] = c.data.query_prompt;
  if (!c.data.passage_prompt.empty()) f.prompts["passage"] = c.data.passage_prompt;
  const int64_t longest = std::max(c.data.query_max_len, c.data.passage_max_len);
  if (longest > f.config.encoder.positions)
    throw Error(ExitCode::usage, "config", cat("data.query_max_len or passage_max_len is ", longest, ", the model has ", f.config.encoder.positions, " positions"),
                cat("use ", f.config.encoder.positions, " or less"));
  f.max_seq_length = longest;
  return f;
}

CollateConfig collate_config(const RunConfig& c, Purpose purpose) {
  return {.group = purpose == Purpose::training ? c.data.train_group_size : 1,
          .query_max_len = c.data.query_max_len,
          .passage_max_len = c.data.passage_max_len,
          .seed = static_cast<uint64_t>(c.train.seed),
          .purpose = purpose};
}

}  // namespace

std::filesystem::path vocabulary_file(const std::filesystem::path& vocab) {
  return std::filesystem::is_directory(vocab) ? vocab / "vocab.txt" : vocab;
}

TrainedModel open_model(const RunConfig& c) {
  const std::filesystem::path tokenizer = c.model.folder.empty() ? c.model.vocab : c.model.folder;
  const bool folder = std::filesystem::is_directory(tokenizer);
  TrainedModel m{folder_of(c), folder ? Tokenizer::from_folder(tokenizer) : Tokenizer::from_vocab(tokenizer, {})};
  const int64_t vocab = m.folder.config.encoder.vocab;
  if (m.tokenizer.vocab_size() > vocab)
    throw Error(ExitCode::usage, "config", cat("the tokenizer has ", m.tokenizer.vocab_size(), " tokens, the model only ", vocab), "use the model's own vocabulary")
        .at("file", tokenizer.string());
  return m;
}

Plan make_plan(const RunConfig& c, const Corpus& corpus) {
  PlanConfig p{.global_batch = c.train.global_batch,
               .batches = c.train.steps * c.train.gradient_accumulation_steps,
               .seed = static_cast<uint64_t>(c.train.seed),
               .batching = c.data.batching,
               .alpha = c.data.alpha,
               .small_sources = c.data.small_sources,
               .order = c.data.order};
  const std::vector<PlanSource> sources = plan_sources(corpus.sources());
  if (p.batches == 0) {
    const int64_t parts = c.train.gradient_accumulation_steps;
    p.batches = (batches_for_epochs(p, sources, c.train.num_train_epochs) + parts - 1) / parts * parts;
  }
  return Plan(p, sources);
}

Corpus open_corpus(const std::filesystem::path& folder, const Tokenizer& tokenizer) {
  Corpus corpus = Corpus::open(folder);
  if (corpus.tokenizer_fingerprint() != tokenizer.fingerprint())
    throw Error(ExitCode::data, "F26", "the corpus was packed with another tokenizer than the model's", "pack it again with --tokenizer MODEL_FOLDER")
        .at("file", folder.string());
  return corpus;
}

Collator make_collator(const RunConfig& c, Purpose purpose, const Tokenizer& tokenizer, const Corpus& corpus) {
  return Collator(collate_config(c, purpose), make_framing(tokenizer, c.data.query_prompt, c.data.passage_prompt, corpus.prompts()));
}

std::optional<HeldOut> read_heldout(const RunConfig& c, const Tokenizer& tokenizer, int rank, int world_size) {
  if (c.data.heldout.empty()) return std::nullopt;
  const Corpus corpus = open_corpus(c.data.heldout, tokenizer);
  return HeldOut(CorpusRows(corpus), make_collator(c, Purpose::evaluation, tokenizer, corpus), c.train.eval_rows, c.train.global_batch, rank, world_size);
}

ParamStore load_params(const RunConfig& c, const ModelFolder& folder, Backend& backend) {
  ParamStore params(embedder_layout(folder.config), c.train.precision);
  initialize_parameters(folder.config, params, static_cast<uint64_t>(c.train.seed));
  if (!c.model.folder.empty()) load_weights(folder, params);
  params.refresh(backend);
  return params;
}

EmbeddingObjectiveOptions objective_options(const TrainConfig& c) {
  return {.chunk_tokens = c.chunk_tokens, .keep_activations_bytes = static_cast<size_t>(c.keep_activations_mb) << 20};
}

Run::Run(World& w, RunConfig config, int64_t first_step)
    : world(w),
      cfg(std::move(config)),
      cores(choose_threads(world, cfg.train.threads)),
      model(open_model(cfg)),
      backend(make_backend({.kind = "cpu", .threads = cores.threads})),
      ex{*backend, arena, Key(static_cast<uint64_t>(cfg.train.seed)).with("train"), cfg.train.precision},
      params(load_params(cfg, model.folder, *backend)),
      grads_memory(static_cast<size_t>(params.layout().count()) * size_of(params.wide_dtype())),
      grads(grads_memory.tensor(params.wide_dtype(), {params.layout().count()})),
      heldout(read_heldout(cfg, model.tokenizer, world.rank(), world.size())),
      corpus(open_corpus(cfg.data.train, model.tokenizer)),
      rows(corpus),
      plan(make_plan(cfg, corpus)),
      encoder(model.folder.config, params, cfg.model.checkpointing),
      loss(make_loss(cfg.loss, model.folder.config.embedding())),
      objective(encoder, *loss, world.comm(), objective_options(cfg.train)),
      optimizer({.beta1 = cfg.optim.adam_beta1, .beta2 = cfg.optim.adam_beta2, .eps = cfg.optim.adam_epsilon, .weight_decay = cfg.optim.weight_decay},
                params.layout(), params.wide_dtype()),
      lr({.lr = cfg.optim.learning_rate,
          .decline = cfg.optim.lr_scheduler_type,
          .warmup_steps = cfg.optim.warmup_steps >= 0 ? std::optional(cfg.optim.warmup_steps) : std::nullopt,
          .warmup_ratio = cfg.optim.warmup_ratio,
          .warmup_shape = cfg.optim.warmup_shape},
         step_count(cfg, plan)),
      sync(world.comm(), params.layout().count(), params.wide_dtype(),
           {.watchdog = &world.watchdog(), .host = &world.host_comm()}),
      loader(plan, rows, make_collator(cfg, Purpose::training, model.tokenizer, corpus), world.rank(), world.size(), first_step,
             cfg.train.gradient_accumulation_steps) {
  world.watchdog().set_limit(static_cast<double>(cfg.train.timeout_s));
}

std::string start_up_table(const Run& run) {
  const EncoderConfig& e = run.model.folder.config.encoder;
  static constexpr const char* poolings[] = {"cls", "mean", "last_token"};
  std::ostringstream out;
  const auto row = [&](const char* name, const auto&... parts) { out << "  " << std::left << std::setw(14) << name << cat(parts...) << '\n'; };
  const int64_t n = run.cfg.train.global_batch, g = run.cfg.data.train_group_size, candidates = run.cfg.loss.in_batch_negatives ? n * g - 1 : g - 1;
  out << "Lodestone\n";
  row("model", e.layers, " layers of ", e.hidden, ", ", e.heads, " heads, ", static_cast<double>(run.params.layout().count()) / 1e6, " M parameters, ",
      poolings[static_cast<size_t>(run.model.folder.config.pooling)], " pooling, embedding ", run.model.folder.config.embedding());
  row("weights", run.cfg.model.folder.empty() ? "random" : run.cfg.model.folder.string());
  row("precision", name_of(run.cfg.train.precision), "; ", run.backend->description());
  row("ranks", run.world.size(), " x ", run.cores.threads, run.cores.threads == 1 ? " thread" : " threads", " on ", run.cores.bound,
      run.cores.bound == 1 ? " core" : " cores", "; ", World::library_version());
  if (!run.cores.warning.empty()) row("warning", run.cores.warning);
  row("corpus", run.corpus.rows(), " rows in ", run.plan.sources().size(), " sources");
  row("batch", n, " queries x ", g, g == 1 ? " passage" : " passages", " over all ranks, ", candidates, " negatives per query",
      run.cfg.train.gradient_accumulation_steps > 1 ? cat(", ", run.cfg.train.gradient_accumulation_steps, " batches per step") : "");
  row("lengths", "queries ", run.cfg.data.query_max_len, ", passages ", run.cfg.data.passage_max_len, " tokens at most; chunks of ", run.cfg.train.chunk_tokens);
  row("steps", step_count(run.cfg, run.plan), " (warm-up ", run.lr.warmup_steps(), "), learning rate ", run.cfg.optim.learning_rate);
  row("run folder", run.cfg.train.output_dir.string());
  return out.str();
}

}  // namespace lodestone
