// Writes the model card: what a model is, how it is used, how it was trained.
#include <iomanip>

#include "data/models/folder_names.h"
#include "data/models/reranker_folder.h"

namespace lodestone {

namespace {

/// A YAML double-quoted string.
std::string quoted(const std::string& text) {
  std::string out = "\"";
  for (const char c : text) {
    if (c == '"' || c == '\\') out += '\\';
    out += static_cast<unsigned char>(c) < 0x20 ? ' ' : c;
  }
  return out + "\"";
}

std::string fixed(double value) {
  std::ostringstream out;
  out << std::fixed << std::setprecision(4) << value;
  return out.str();
}

/// The kind of model as hubs name it.
struct Kind {
  const char* pipeline;  // what it is used for
  const char* tags;      // one a line
  const char* task;      // of the results
};
constexpr Kind embedder{"sentence-similarity", "- sentence-transformers\n- sentence-similarity\n- feature-extraction\n- dense\n",
                        "information-retrieval"};
constexpr Kind reranker{"text-ranking", "- sentence-transformers\n- cross-encoder\n- reranker\n", "text-ranking"};

void front_matter(std::ostream& out, const ModelCard& card, const Kind& kind) {
  out << "---\nlibrary_name: sentence-transformers\npipeline_tag: " << kind.pipeline << "\ntags:\n"
      << kind.tags << (card.merged.empty() ? "- generated_from_trainer\n" : "- merge\n");
  if (card.training_pairs > 0) out << "- dataset_size:" << card.training_pairs << "\n";
  if (!card.loss.empty()) out << "- " << quoted("loss:" + card.loss) << "\n";
  if (!card.base_model.empty()) out << "base_model: " << quoted(card.base_model) << "\n";
  if (!card.results.empty()) {
    out << "model-index:\n- name: " << quoted(card.name.empty() ? "model" : card.name) << "\n  results:\n";
    for (const ModelCard::Result& r : card.results)
      out << "  - task:\n      type: " << kind.task << "\n    dataset:\n      name: " << quoted(r.dataset)
          << "\n      type: " << quoted(r.dataset) << "\n    metrics:\n    - type: " << quoted(r.metric)
          << "\n      value: " << fixed(r.after) << "\n";
  }
  out << "---\n\n";
}

void results_and_training(std::ostream& out, const ModelCard& card) {
  if (!card.merged.empty()) {
    out << "\n## Merged from\n\nThe weights are a sum of those of these models:\n\n| Model | Times |\n|---|---|\n";
    for (const auto& [name, weight] : card.merged) out << "| " << name << " | " << weight << " |\n";
  }
  if (!card.results.empty()) {
    out << "\n## Evaluation\n\n| Data | Metric | Before | After |\n|---|---|---|---|\n";
    for (const ModelCard::Result& r : card.results)
      out << "| " << r.dataset << " | " << r.metric << " | " << (r.before < 0 ? "-" : fixed(r.before)) << " | " << fixed(r.after) << " |\n";
  }
  if (card.steps > 0 || !card.hyper_parameters.empty()) {
    out << "\n## Training\n\n";
    if (card.steps > 0) out << "- Steps: " << card.steps << "\n";
    if (card.training_pairs > 0) out << "- Training pairs: " << card.training_pairs << "\n";
    if (!card.loss.empty()) out << "- Loss: " << card.loss << "\n";
    for (const auto& [name, value] : card.hyper_parameters) out << "- " << name << ": " << value << "\n";
  }
  if (!card.program.empty()) out << "\n" << (card.merged.empty() ? "Trained" : "Merged") << " with " << card.program << ".\n";
}

}  // namespace

std::string model_card(const ModelFolder& model, const ModelCard& card) {
  std::ostringstream out;
  front_matter(out, card, embedder);
  const EmbedderConfig& c = model.config;
  out << "# " << (card.name.empty() ? "Text-embedding model" : card.name) << "\n\nMaps texts to vectors of " << c.embedding()
      << " numbers, for search, clustering and comparing texts.\n\n## Model\n\n";
  if (!card.base_model.empty()) out << "- Base model: " << card.base_model << "\n";
  out << "- Encoder: " << row_of(c.encoder.type).card << ", " << c.encoder.layers << " layers, hidden size " << c.encoder.hidden << ", "
      << c.encoder.heads << " heads\n- Pooling: " << row_of(c.pooling).card << "\n";
  if (c.head) out << "- Dense: " << c.encoder.hidden << " to " << c.head->out_features << row_of(c.head->squash).card << "\n";
  out << "- Normalised: " << (c.normalize ? "yes" : "no") << "\n- Longest text: " << model.max_seq_length
      << " tokens, longer ones are cut\n- Similarity: " << name_of(model.similarity)
      << "\n\n## Usage\n\n```python\nfrom sentence_transformers import SentenceTransformer\n\n"
         "model = SentenceTransformer(\"path/of/this/folder\")\n"
         "queries = model.encode([\"a question\"]"
      << (model.prompts.contains("query") ? ", prompt_name=\"query\"" : "")
      << ")\ntexts = model.encode([\"an answer\", \"another text\"])\nprint(model.similarity(queries, texts))\n```\n";
  if (!model.prompts.empty()) {
    out << "\nPrompts put in front of a text:\n\n";
    for (const auto& [name, text] : model.prompts)
      out << "- " << name << ": `" << text << "`" << (name == model.default_prompt ? " (default)" : "") << "\n";
  }
  results_and_training(out, card);
  return out.str();
}

std::string model_card(const RerankerFolder& model, const ModelCard& card) {
  std::ostringstream out;
  front_matter(out, card, reranker);
  const EncoderConfig& c = model.config.encoder;
  out << "# " << (card.name.empty() ? "Reranker" : card.name)
      << "\n\nScores how well a text answers a query: a cross-encoder, to put the results of a search in order.\n\n## Model\n\n";
  if (!card.base_model.empty()) out << "- Base model: " << card.base_model << "\n";
  out << "- Encoder: " << row_of(c.type).card << ", " << c.layers << " layers, hidden size " << c.hidden << ", " << c.heads
      << " heads\n- Score: one number, unbounded; a sigmoid makes it a number between 0 and 1\n- Longest pair: " << model.max_seq_length
      << " tokens\n\n## Usage\n\n```python\nfrom sentence_transformers import CrossEncoder\n\n"
         "model = CrossEncoder(\"path/of/this/folder\")\n"
         "print(model.predict([(\"a question\", \"an answer\"), (\"a question\", \"another text\")]))\n```\n";
  results_and_training(out, card);
  return out.str();
}

}  // namespace lodestone
