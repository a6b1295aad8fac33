// How the loss and the objective are configured.
#include "launch/config/config_read.h"

namespace lodestone {

namespace {

double read_mask_share(Section& s, const std::string& key, double value) {
  s.read(key, value);
  if (!(value > 0 && value <= 1)) s.refuse(key, cat(value, " masks nothing or more than everything"), "choose a share above 0 and up to 1");
  return value;
}

/// use_inbatch_neg and negatives_cross_device.
Candidates read_candidates(Section& s) {
  bool in_batch = true, cross_rank = true;
  s.read("use_inbatch_neg", in_batch);
  s.read("negatives_cross_device", cross_rank);
  if (!in_batch) return Candidates::own_group;
  return cross_rank ? Candidates::all_ranks : Candidates::this_rank;
}

void read_settings(Section& s, InfoNceOptions& o) {
  s.read("temperature", o.temperature);
  o.candidates = read_candidates(s);
  read_flag(s, "symmetric", Direction::query_to_passage, Direction::both, o.direction);
  read_flag(s, "mask_false_negatives", Duplicates::kept, Duplicates::masked, o.duplicates);
  read_enum(s, "score_precision", o.score_precision);
}

void read_settings(Section& s, GteOptions& o) {
  s.read("temperature", o.temperature);
  o.candidates = read_candidates(s);
  read_flag(s, "dedup_positive", PositiveTerms::twice, PositiveTerms::once, o.positive_terms);
  read_flag(s, "hard_in_dd", PositiveRivals::positives, PositiveRivals::all_passages, o.positive_rivals);
  read_flag(s, "mask_false_negatives", Duplicates::kept, Duplicates::masked, o.duplicates);
  read_enum(s, "score_precision", o.score_precision);
}

void read_settings(Section& s, CbbOptions& o) {
  s.read("temperature", o.temperature);
  read_enum(s, "neg_scope", o.negatives);
  read_flag(s, "include_other_pos", OtherPositives::excluded, OtherPositives::included, o.other_positives);
  read_flag(s, "mask_false_negatives", Duplicates::kept, Duplicates::masked, o.duplicates);
  read_enum(s, "score_precision", o.score_precision);
}

void read_settings(Section& s, CosentOptions& o) { s.read("temperature", o.temperature); }

void read_settings(Section& s, GroupDistillationOptions& o) {
  s.read("temperature", o.temperature);
  s.read("teacher_temperature", o.teacher_temperature);
}

void read_settings(Section& s, StabilisedOptions& o) {
  s.read("temperature", o.temperature);
  s.read("teacher_temperature", o.teacher_temperature);
  read_enum(s, "compat", o.order);
  o.candidates = read_candidates(s);
  read_flag(s, "mask_false_negatives", Duplicates::kept, Duplicates::masked, o.duplicates);
  read_enum(s, "score_precision", o.score_precision);
}

void read_settings(Section& s, MarginMseOptions& o) { read_enum(s, "similarity", o.similarity); }

/// The settings of the loss that stands at this place of LossOptions, by its overload of read_settings.
LossOptions read_options(Section& s, size_t place) {
  using Reader = LossOptions (*)(Section&);
  static constexpr auto readers = of_each_loss([]<class Options>(const Options&) -> Reader {
    return [](Section& section) -> LossOptions {
      Options o;
      read_settings(section, o);
      require_settings(section, refused(o));
      return o;
    };
  });
  return readers.at(place)(s);
}

LossTerm read_term(Section s) {
  LossTerm term;
  size_t name = 0;
  s.read_choice("name", loss_names, name);
  term.options = read_options(s, name);
  s.read("weight", term.weight);
  s.finish();
  require_settings(s, refused_weight("weight", term.weight));
  return term;
}

}  // namespace

LossConfig read_loss(Section s) {
  LossConfig c;
  size_t name = 0;
  std::vector<std::string_view> names(loss_names.begin(), loss_names.end());
  names.push_back("sum");
  s.read_choice("name", names, name);
  if (name == loss_names.size()) {
    Section terms = s.section("terms");
    c.terms.clear();
    for (const std::string& key : terms.names()) c.terms.push_back(read_term(terms.section(key)));
  } else {
    c.terms = {{read_options(s, name), 1}};
  }
  s.read("mrl_dims", c.matryoshka_dims);
  s.finish();
  require_settings(s, refused(c));
  return c;
}

namespace {

void read_retromae(Section& s, RetroMaeOptions& o) {
  o.encoder_mlm_probability = read_mask_share(s, "encoder_mlm_probability", o.encoder_mlm_probability);
  o.decoder_mlm_probability = read_mask_share(s, "decoder_mlm_probability", o.decoder_mlm_probability);
  read_enum(s, "h1_mode", o.h1_mode);
  read_enum(s, "decoding", o.decoding);
  s.read("decoder_weight", o.decoder_weight);
  at_least(s, "decoder_weight", o.decoder_weight, 0.0);
}

void read_reranker(Section& s, GroupLossOptions& o) {
  read_enum(s, "loss", o.target);
  s.read("distillation_weight", o.distillation_weight);
  at_least(s, "distillation_weight", o.distillation_weight, 0.0);
  s.read("teacher_temperature", o.teacher_temperature);
  require_settings(s, refused_temperature("teacher_temperature", o.teacher_temperature));
}

}  // namespace

ObjectiveConfig read_objective(Section s) {
  ObjectiveConfig c;
  read_enum(s, "name", c.kind);
  switch (c.kind) {
    case ObjectiveKind::embedding:
      break;  // its losses have a section of their own
    case ObjectiveKind::retromae:
      read_retromae(s, c.retromae);
      break;
    case ObjectiveKind::reranker:
      read_reranker(s, c.reranker);
      break;
  }
  s.finish();
  return c;
}

}  // namespace lodestone
