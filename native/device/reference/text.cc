// String ops and TfIdfVectorizer.
#include <algorithm>
#include <map>
#include <set>
#include <string>

#include "device/reference/plain.h"
#include "device/reference/regex.h"
#include "device/reference/walk.h"

namespace ziggurat::plain {
namespace {

const std::string* Strings(const TensorView& view) {
  if (view.dtype != DType::kString) throw Error(Code::kInvalidArgument, "strings are needed, not ", Name(view.dtype));
  return view.As<const std::string>();
}

void StringConcat(const Args& args) {
  const TensorView& out = args.Out(0);
  const std::string *a = Strings(args.In(0)), *b = Strings(args.In(1));
  const std::vector<int64_t> a_at = AllOffsets(out.shape, BroadcastStrides(args.In(0).shape, out.shape));
  const std::vector<int64_t> b_at = AllOffsets(out.shape, BroadcastStrides(args.In(1).shape, out.shape));
  for (size_t i = 0; i < a_at.size(); ++i) out.As<std::string>()[i] = a[a_at[i]] + b[b_at[i]];
}

// Like Python's str.split: without a delimiter at runs of white space, at most `limit` times where it is not negative.
std::vector<std::string> SplitOne(const std::string& text, const std::string& delimiter, int64_t limit) {
  std::vector<std::string> parts;
  size_t at = 0;
  if (!delimiter.empty()) {
    for (size_t found; limit-- != 0 && (found = text.find(delimiter, at)) != text.npos; at = found + delimiter.size())
      parts.push_back(text.substr(at, found - at));
    parts.push_back(text.substr(at));
    return parts;
  }
  constexpr const char* kSpace = " \t\n\r\f\v";
  for (at = text.find_first_not_of(kSpace); at != text.npos;) {
    const size_t end = limit-- == 0 ? text.npos : text.find_first_of(kSpace, at);
    parts.push_back(text.substr(at, end - at));
    at = end == text.npos ? end : text.find_first_not_of(kSpace, end);
  }
  return parts;
}

void StringSplit(const Args& args) {
  const TensorView& in = args.In(0);
  const std::string delimiter = args.String("delimiter", "");
  const int64_t limit = args.node.Has("maxsplit") ? args.Int("maxsplit") : -1;
  std::vector<std::vector<std::string>> split;
  size_t most = 0;
  const int64_t count = in.Count();
  for (int64_t i = 0; i < count; ++i) {
    split.push_back(SplitOne(Strings(in)[i], delimiter, limit));
    most = std::max(most, split.back().size());
  }
  Shape shape = in.shape;
  shape.push_back(static_cast<int64_t>(most));
  std::string* parts = args.Shaped(0, shape).As<std::string>();
  const TensorView& counts = args.Shaped(1, in.shape);
  for (size_t i = 0; i < split.size(); ++i) {
    for (size_t k = 0; k < most; ++k) parts[i * most + k] = k < split[i].size() ? split[i][k] : "";
    StoreOne<int64_t>(counts, static_cast<int64_t>(i), static_cast<int64_t>(split[i].size()));
  }
}

// Simple one-to-one case pairs: ASCII, Latin-1, Greek and Cyrillic.
char32_t ChangeCase(char32_t c, bool upper) {
  const auto shift = [&](char32_t low, char32_t high, char32_t by) -> char32_t {
    if (upper && c >= low + by && c <= high + by) return c - by;
    if (!upper && c >= low && c <= high) return c + by;
    return 0;
  };
  if (c == 0xd7 || c == 0xf7 || c == 0x3a2 || c == 0x3c2) return c;  // no pairs inside the ranges
  for (const char32_t changed : {shift('A', 'Z', 32), shift(0xc0, 0xde, 32), shift(0x391, 0x3a9, 32),
                                 shift(0x410, 0x42f, 32), shift(0x400, 0x40f, 80)})
    if (changed) return changed;
  return c;
}

std::string ChangeCase(const std::string& text, const std::string& action) {
  if (action == "NONE") return text;
  if (action != "LOWER" && action != "UPPER")
    throw Error(Code::kInvalidArgument, "case_change_action '", action, "' is not LOWER, UPPER or NONE");
  std::string out;
  for (char32_t c : DecodeUtf8(text)) AppendUtf8(ChangeCase(c, action == "UPPER"), out);
  return out;
}

void StringNormalizer(const Args& args) {
  const TensorView& in = args.In(0);
  if (in.shape.rank() != 1 && !(in.shape.rank() == 2 && in.shape[0] == 1))
    throw Error(Code::kInvalidArgument, "StringNormalizer of shape ", in.shape, ", not [C] or [1, C]");
  const std::string action = args.String("case_change_action", "NONE");
  const bool sensitive = args.Int("is_case_sensitive", 0) != 0;
  const auto key = [&](const std::string& text) { return sensitive ? text : ChangeCase(text, "LOWER"); };
  std::set<std::string> stops;
  for (const std::string& word : args.node.Strings("stopwords")) stops.insert(key(word));
  std::vector<std::string> kept;
  const int64_t count = in.Count();
  for (int64_t i = 0; i < count; ++i)
    if (!stops.count(key(Strings(in)[i]))) kept.push_back(ChangeCase(Strings(in)[i], action));
  if (kept.empty()) kept.push_back("");
  Shape shape = in.shape;
  shape[shape.rank() - 1] = static_cast<int64_t>(kept.size());
  std::copy(kept.begin(), kept.end(), args.Shaped(0, shape).As<std::string>());
}

void RegexFullMatch(const Args& args) {
  const Regex regex(args.String("pattern"));
  const std::string* text = Strings(args.In(0));
  const int64_t count = args.In(0).Count();
  for (int64_t i = 0; i < count; ++i) StoreOne<uint64_t>(args.Out(0), i, regex.FullMatch(text[i]));
}

// ---- TfIdfVectorizer ----

template <typename T>
using Grams = std::map<std::vector<T>, int64_t>;  // n-gram -> its number in the pool

// The pool holds all 1-grams, then all 2-grams, ...; ngram_counts says where each length starts.
template <typename T>
Grams<T> ReadPool(const Args& args, const std::vector<T>& pool) {
  const std::vector<int64_t> starts = args.node.Ints("ngram_counts");
  Grams<T> grams;
  int64_t number = 0;
  const int64_t total = static_cast<int64_t>(pool.size());
  for (size_t n = 1; n <= starts.size(); ++n) {
    const int64_t begin = starts[n - 1], end = n < starts.size() ? starts[n] : total, length = static_cast<int64_t>(n);
    if (begin < 0 || begin > end || end > total || (end - begin) % length)
      throw Error(Code::kInvalidArgument, "ngram_counts do not divide the pool of ", total);
    for (int64_t at = begin; at < end; at += length)
      grams.emplace(std::vector<T>(pool.begin() + at, pool.begin() + at + length), number++);
  }
  return grams;
}

template <typename T>
void CountGrams(const Args& args, const std::vector<T>& words, const Grams<T>& grams,
                const std::vector<int64_t>& columns, double* counts) {
  const int64_t shortest = args.Int("min_gram_length"), longest = args.Int("max_gram_length");
  const int64_t size = static_cast<int64_t>(words.size()), skips = std::min(args.Int("max_skip_count"), size);
  for (int64_t n = std::max<int64_t>(shortest, 1); n <= std::min(longest, size); ++n)
    for (int64_t skip = 0; skip <= (n == 1 ? 0 : skips); ++skip)
      for (int64_t start = 0; start + (n - 1) * (skip + 1) < size; ++start) {
        std::vector<T> gram;
        for (int64_t k = 0; k < n; ++k) gram.push_back(words[start + k * (skip + 1)]);
        if (const auto found = grams.find(gram); found != grams.end()) counts[columns[found->second]] += 1;
      }
}

template <typename T>
void Vectorize(const Args& args, const std::vector<T>& words, const std::vector<T>& pool) {
  const TensorView& out = args.Out(0);
  const Grams<T> grams = ReadPool(args, pool);
  const std::vector<int64_t> columns = args.node.Ints("ngram_indexes");
  const std::vector<float> weights = args.node.Floats("weights");
  const std::string mode = args.String("mode");
  const int64_t width = out.shape.rank() ? out.shape[out.shape.rank() - 1] : 0;
  if (columns.size() < grams.size()) throw Error(Code::kInvalidArgument, "ngram_indexes is shorter than the pool");
  for (int64_t column : columns) Index(column, width);
  if (mode != "TF" && mode != "IDF" && mode != "TFIDF")
    throw Error(Code::kInvalidArgument, "mode '", mode, "' is unknown");
  if (!weights.empty() && static_cast<int64_t>(weights.size()) < width)
    throw Error(Code::kInvalidArgument, weights.size(), " weights for ", width, " columns");
  const int64_t rows = width ? out.Count() / width : 0, each = rows ? static_cast<int64_t>(words.size()) / rows : 0;
  std::vector<double> counts(static_cast<size_t>(out.Count()));
  for (int64_t r = 0; r < rows; ++r) {
    const std::vector<T> row(words.begin() + r * each, words.begin() + (r + 1) * each);
    CountGrams(args, row, grams, columns, counts.data() + r * width);
  }
  for (size_t i = 0; i < counts.size() && mode != "TF"; ++i) {
    if (mode == "IDF") counts[i] = counts[i] > 0;
    if (!weights.empty()) counts[i] *= weights[static_cast<int64_t>(i) % width];
  }
  StoreAll<double>(out, counts);
}

void TfIdfVectorizer(const Args& args) {
  const TensorView& in = args.In(0);
  if (in.dtype != DType::kString) return Vectorize(args, LoadAll<int64_t>(in), args.node.Ints("pool_int64s"));
  Vectorize(args, std::vector<std::string>(Strings(in), Strings(in) + in.Count()), args.node.Strings("pool_strings"));
}

constexpr PlainOp kOps[] = {
    {"StringConcat", StringConcat},     {"StringSplit", StringSplit},         {"StringNormalizer", StringNormalizer},
    {"RegexFullMatch", RegexFullMatch}, {"TfIdfVectorizer", TfIdfVectorizer},
};

}  // namespace

std::span<const PlainOp> TextOps() { return kOps; }

}  // namespace ziggurat::plain
