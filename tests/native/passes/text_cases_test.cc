// Runs tests/passes/*/*.ir: each file names passes and holds a graph before and after them.
//
//   // what the case shows
//   pass: fold_shapes, eliminate_identity
//   before: graph ...
//   after: graph ...          or  after: unchanged
#include <algorithm>
#include <filesystem>
#include <fstream>
#include <set>
#include <sstream>

#include "check.h"
#include "ir/parser.h"
#include "ir/printer.h"
#include "ir/verifier.h"
#include "passes/evaluator.h"
#include "passes/runner.h"

namespace ziggurat {
namespace {

struct PassCase {
  std::vector<std::string> passes;
  std::string before, after;
};

std::filesystem::path Root() { return ZIGGURAT_PASS_TEXTS; }

std::vector<std::filesystem::path> Files() {
  std::vector<std::filesystem::path> out;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(Root()))
    if (entry.path().extension() == ".ir") out.push_back(entry.path());
  std::sort(out.begin(), out.end());
  return out;
}

PassCase Read(const std::filesystem::path& path) {
  std::stringstream text;
  text << std::ifstream(path).rdbuf();
  const std::string all = text.str();
  const size_t pass = all.find("pass:"), before = all.find("before:"), after = all.find("after:");
  CHECK(pass != std::string::npos && before != std::string::npos && after != std::string::npos, path.string());
  PassCase out;
  std::stringstream names(all.substr(pass + 5, before - pass - 5));
  for (std::string name; std::getline(names, name, ',');) {
    std::erase_if(name, [](char c) { return c == ' ' || c == '\n'; });
    out.passes.push_back(name);
  }
  out.before = all.substr(before + 7, after - before - 7);
  out.after = all.substr(after + 6);
  return out;
}

std::vector<PipelineRow> RowsOf(const PassCase& test) {
  std::vector<PipelineRow> rows;
  for (const std::string& name : test.passes) {
    const auto all = Pipeline();
    const auto found =
        std::find_if(all.begin(), all.end(), [&](const PipelineRow& row) { return row.pass.name == name; });
    CHECK(found != all.end(), "no pass ", name);
    rows.push_back({found->pass, ""});
  }
  return rows;
}

void Run(const std::filesystem::path& path) {
  const PassCase test = Read(path);
  const auto graph = ParseGraph(test.before);
  Verify(*graph);
  const bool unchanged =
      test.after.find("unchanged") != std::string::npos && test.after.find("graph") == std::string::npos;
  const auto expected = ParseGraph(unchanged ? test.before : test.after);
  PassContext context;
  context.evaluate = test::EvaluateForTests;
  PassOptions options;
  options.verify_types = true;
  const auto records = RunPasses(*graph, context, options, RowsOf(test));
  const std::string want = PrintGraph(*expected, {.canonical = true}), got = PrintGraph(*graph, {.canonical = true});
  CHECK(want == got, path.filename().string(), "\nwanted\n", want, "got\n", got);
  int rewrites = 0;
  for (const PassRecord& record : records) rewrites += record.rewrites;
  CHECK(unchanged == (rewrites == 0), path.filename().string(), ": ", rewrites, " rewrites counted");
}

}  // namespace

TEST(every_pass_does_what_its_texts_say) {
  std::string failures;
  int count = 0;
  for (const auto& path : Files()) {
    ++count;
    try {
      Run(path);
    } catch (const test::Failure& failure) {
      failures += Cat("\n", path.string(), ": ", failure.text);
    } catch (const Error& error) {
      failures += Cat("\n", path.string(), ": ", error.what());
    }
  }
  CHECK(failures.empty(), failures);
  CHECK(count > 0, "no texts in ", Root().string());
}

TEST(every_pass_has_a_text_where_it_applies_and_one_where_it_must_not) {
  std::set<std::string> positive, negative;
  for (const auto& path : Files()) {
    const PassCase test = Read(path);
    const std::string folder = path.parent_path().filename().string();
    CHECK(std::find(test.passes.begin(), test.passes.end(), folder) != test.passes.end(), path.string());
    (test.after.find("unchanged") == std::string::npos ? positive : negative).insert(folder);
  }
  for (const PipelineRow& row : Pipeline()) {
    CHECK(positive.contains(std::string(row.pass.name)), row.pass.name, " has no positive text");
    CHECK(negative.contains(std::string(row.pass.name)), row.pass.name, " has no negative text");
  }
}

}  // namespace ziggurat
