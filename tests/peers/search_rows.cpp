// search_rows DOCUMENTS.f32 QUERIES.f32 EMBEDDING BEST THREADS f32|bf16 ROUNDS OUT.i64: the exact search of the program over raw f32 rows,
// on one rank; prints the seconds of each round as JSON and writes the documents found. Used by search_speed.py.
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <string>

#include "comm/self_comm.h"
#include "launch/console/log.h"
#include "launch/inference/search.h"

namespace {

using namespace lodestone;

std::vector<float> read_rows(const char* path) {
  std::ifstream in(path, std::ios::binary | std::ios::ate);
  if (!in) throw Error(ExitCode::data, "F32", "cannot be read", "give a file of f32 values").at("file", path);
  std::vector<float> rows(static_cast<size_t>(in.tellg()) / sizeof(float));
  in.seekg(0).read(reinterpret_cast<char*>(rows.data()), static_cast<std::streamsize>(rows.size() * sizeof(float)));
  return rows;
}

void run(char** arguments) {
  const std::vector<float> documents = read_rows(arguments[1]), queries = read_rows(arguments[2]);
  const auto comm = make_self_comm();
  const auto backend = make_backend({.kind = BackendKind::cpu, .threads = std::atoi(arguments[5])});
  Arena arena(backend->memory());
  const SearchInput input{.queries = queries,
                          .documents = documents,
                          .embedding = std::atoi(arguments[3]),
                          .precedence = {},
                          .best = std::atoi(arguments[4]),
                          .compared = Compared::as_f64,
                          .scanned = std::string(arguments[6]) == "bf16" ? DType::bf16 : DType::f32};
  std::vector<std::vector<Found>> found;
  std::printf("[");
  for (int round = 0; round < std::atoi(arguments[7]); ++round) {
    const double start_s = now_s();
    found = search_own({*backend, arena}, *comm, input);
    std::printf("%s%.6f", round == 0 ? "" : ", ", now_s() - start_s);
  }
  std::printf("]\n");
  std::ofstream out(arguments[8], std::ios::binary);
  for (const std::vector<Found>& of_query : found)
    for (const Found& f : of_query) out.write(reinterpret_cast<const char*>(&f.document), sizeof f.document);
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 9) return 2;
  try {
    run(argv);
  } catch (const lodestone::Error& error) {
    std::fprintf(stderr, "error: %s\n", error.what());
    return static_cast<int>(error.exit_code());
  }
}
