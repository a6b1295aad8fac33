#include "data/cleaning/pass.h"

#include "data/cleaning/row_texts.h"
#include "data/files/utf8.h"

namespace lodestone {

namespace {

std::string quoted(std::string_view text) { return Json(utf8_name(text)).dump(); }

}  // namespace

void CleaningPass::run(const std::filesystem::path& file, const std::string& source, LineWriter& kept,
                       const std::function<void(int64_t)>& tick) {
  JsonLines rows(LineReader::whole(file));
  for (;;) {
    try {
      if (!rows.next()) return;
      judge_row(rows, source, kept);
    } catch (const BadRow& bad) {
      if (++bad_rows_ > settings_.allowed_bad_rows) throw;
      drop_bad_row(bad, rows, source);
    }
    tick(rows.consumed());
  }
}

void CleaningPass::judge_row(const JsonLines& rows, const std::string& source, LineWriter& kept) {
  RowVerdict verdict;
  try {
    verdict = judge_(rows.fields());
  } catch (const Error& error) {
    if (error.exit_code() == ExitCode::data) throw rows.located(error);
    throw;
  }
  tally_.add(source_of(rows.fields(), settings_.source_field, source), verdict.reason);
  if (verdict.reason.empty())
    kept.write(rows.line());
  else
    write_dropped(rows, verdict, rows.line());
}

void CleaningPass::drop_bad_row(const BadRow& bad, const JsonLines& rows, const std::string& source) {
  tally_.add(source, bad_row_reason);
  write_dropped(rows, {bad_row_reason, cat("\"error\":", quoted(cat(bad.code(), ' ', bad.what())), ",")}, {});
}

void CleaningPass::write_dropped(const JsonLines& rows, const RowVerdict& verdict, std::string_view row) {
  if (dropped_ == nullptr) return;
  const RecordPlace place = rows.place();
  entry_ = cat("{\"reason\":", quoted(verdict.reason), ",\"file\":", quoted(place.file), ",\"line\":", place.line, ",", verdict.note);
  if (row.ends_with('\r')) row.remove_suffix(1);
  if (row.empty())
    (entry_ += "\"text\":") += quoted(rows.line());
  else
    (entry_ += "\"row\":") += row;
  dropped_->write(entry_ += '}');
}

}  // namespace lodestone
