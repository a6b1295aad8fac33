// Writes a model folder, then proves it: reloads its own files and compares embeddings or scores with the live model.
#pragma once

#include <filesystem>

#include "core/backend.h"
#include "data/models/reranker_folder.h"
#include "data/text/tokenizer.h"

namespace lodestone {

/// Throws Error (numerical, "F44") naming the first parameter that has a value which is not finite: the run has diverged.
void require_finite(const ParamStore& params, const std::string& remedy);
/// The same wherever the parameters lie, by their sums of squares: one download where all is well. ex.arena: of their memory.
void require_finite(Exec ex, const ParamStore& params, const std::string& remedy);

struct LiveModel {
  const ModelFolder& folder;
  const ParamStore& params;
  const Tokenizer& tokenizer;
};

/// Writes `path` (see write_model_folder) and embeds sample texts with the live weights and with the reloaded folder, both in f32 on the
/// CPU, on `backend` where it is one. Returns the largest absolute difference. Throws Error (internal, "export") above 1e-6: what users
/// load must be what was trained; Error (numerical, "F44") when weights or vectors are not finite. No folder is left where it throws.
double export_verified(const std::filesystem::path& path, const LiveModel& live, const std::filesystem::path& source, const ModelCard& card,
                       Backend& backend);

/// Loads what was written at `path`, an embedder or a reranker, reads its tokenizer in every way that Hugging Face's programs have, and
/// embeds or scores the sample texts. Throws Error (numerical, "F44") with the remedy when the results are not finite, Error (internal,
/// "export") when the tokenizer is not that of this fingerprint. The folder is removed where it throws.
void require_usable(const std::filesystem::path& path, uint64_t tokenizer, const std::string& remedy, Backend& backend);

struct LiveReranker {
  const RerankerFolder& folder;
  const ParamStore& params;
  const Tokenizer& tokenizer;
};

/// The same with write_reranker_folder and the scores of sample pairs; the bound is 1e-6 of the largest score, or of 1.
double export_verified(const std::filesystem::path& path, const LiveReranker& live, const std::filesystem::path& source,
                       const ModelCard& card, Backend& backend);

}  // namespace lodestone
