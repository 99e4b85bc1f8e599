#include "ir/dim.h"

#include <algorithm>

#include "base/error.h"

namespace ziggurat {

struct Dim::Atom {
  SymbolId symbol = -1;  // -1: a function of two dimensions
  Fn fn = Fn::kFloorDiv;
  std::shared_ptr<const std::pair<Dim, Dim>> args;
  size_t size = 1;  // symbols and functions in it
};

// coefficient * product of factors (sorted, with repetition); no factors: the constant term.
struct Dim::Term {
  int64_t coefficient = 0;
  std::vector<Atom> factors;
};

namespace {

int64_t Checked(bool overflow, int64_t value) {
  if (overflow) throw Error(Code::kInvalidArgument, "dimension arithmetic exceeds 2^63");
  return value;
}
int64_t AddInt(int64_t a, int64_t b) {
  int64_t out;
  bool overflow = __builtin_add_overflow(a, b, &out);
  return Checked(overflow, out);
}
int64_t MulInt(int64_t a, int64_t b) {
  int64_t out;
  bool overflow = __builtin_mul_overflow(a, b, &out);
  return Checked(overflow, out);
}

// Symbols and functions in one expression, counted with repetition. What no model needs is refused before it costs:
// squaring a dimension n times over would take 2^n of them.
constexpr size_t kMaxSize = 512;

void CheckedSize(size_t size) {
  if (size > kMaxSize)
    throw Error(Code::kInvalidArgument, "a dimension's expression has more than ", kMaxSize, " parts");
}

// Of the terms of a dimension, which only its own members may name.
template <typename Terms>
size_t Weigh(const Terms& terms) {
  size_t size = 0;
  for (const auto& term : terms) {
    size += 1;
    for (const auto& atom : term.factors) size += atom.size;
    if (size > kMaxSize) break;
  }
  return size;
}

}  // namespace

Dim Dim::Symbol(SymbolId id) { return FromTerms({Term{1, {Atom{id, Fn::kFloorDiv, nullptr, 1}}}}); }

int64_t Dim::Const() const {
  ZIGGURAT_CHECK(IsConst());
  return constant_;
}

std::optional<SymbolId> Dim::AsSymbol() const {
  if (IsConst() || terms_->size() != 1) return std::nullopt;
  const Term& term = terms_->front();
  if (term.coefficient != 1 || term.factors.size() != 1 || term.factors[0].symbol < 0) return std::nullopt;
  return term.factors[0].symbol;
}

int Dim::CompareAtoms(const Atom& a, const Atom& b) {
  if (a.symbol != b.symbol) return a.symbol < b.symbol ? -1 : 1;
  if (a.symbol >= 0) return 0;
  if (a.fn != b.fn) return a.fn < b.fn ? -1 : 1;
  if (int order = Compare(a.args->first, b.args->first)) return order;
  return Compare(a.args->second, b.args->second);
}

int Dim::CompareFactors(const std::vector<Atom>& a, const std::vector<Atom>& b) {
  if (a.size() != b.size()) return a.size() < b.size() ? -1 : 1;
  for (size_t i = 0; i < a.size(); ++i)
    if (int order = CompareAtoms(a[i], b[i])) return order;
  return 0;
}

int Dim::Compare(const Dim& a, const Dim& b) {
  if (a.IsConst() != b.IsConst()) return a.IsConst() ? -1 : 1;
  if (a.IsConst()) return a.constant_ == b.constant_ ? 0 : a.constant_ < b.constant_ ? -1 : 1;
  if (a.terms_ == b.terms_) return 0;
  const Terms &x = *a.terms_, &y = *b.terms_;
  if (x.size() != y.size()) return x.size() < y.size() ? -1 : 1;
  for (size_t i = 0; i < x.size(); ++i) {
    if (int order = CompareFactors(x[i].factors, y[i].factors)) return order;
    if (x[i].coefficient != y[i].coefficient) return x[i].coefficient < y[i].coefficient ? -1 : 1;
  }
  return 0;
}

Dim Dim::FromTerms(Terms terms) {
  CheckedSize(Weigh(terms));
  for (Term& term : terms)
    std::sort(term.factors.begin(), term.factors.end(),
              [](const Atom& a, const Atom& b) { return CompareAtoms(a, b) < 0; });
  std::sort(terms.begin(), terms.end(),
            [](const Term& a, const Term& b) { return CompareFactors(a.factors, b.factors) < 0; });
  Terms merged;
  for (Term& term : terms) {
    if (!merged.empty() && CompareFactors(merged.back().factors, term.factors) == 0)
      merged.back().coefficient = AddInt(merged.back().coefficient, term.coefficient);
    else
      merged.push_back(std::move(term));
  }
  std::erase_if(merged, [](const Term& term) { return term.coefficient == 0; });
  if (merged.empty()) return Dim(0);
  if (merged.size() == 1 && merged[0].factors.empty()) return Dim(merged[0].coefficient);
  Dim result;
  result.terms_ = std::make_shared<const Terms>(std::move(merged));
  return result;
}

Dim::Terms Dim::ToTerms(const Dim& dim) {
  if (!dim.IsConst()) return *dim.terms_;
  return dim.constant_ == 0 ? Terms{} : Terms{Term{dim.constant_, {}}};
}

Dim operator+(const Dim& a, const Dim& b) {
  if (a.IsConst() && b.IsConst()) return Dim(AddInt(a.constant_, b.constant_));
  Dim::Terms terms = Dim::ToTerms(a), more = Dim::ToTerms(b);
  terms.insert(terms.end(), more.begin(), more.end());
  return Dim::FromTerms(std::move(terms));
}

Dim operator-(const Dim& a, const Dim& b) { return a + b * Dim(-1); }

Dim operator*(const Dim& a, const Dim& b) {
  if (a.IsConst() && b.IsConst()) return Dim(MulInt(a.constant_, b.constant_));
  Dim::Terms product;
  const Dim::Terms left = Dim::ToTerms(a), right = Dim::ToTerms(b);
  CheckedSize(left.size() * right.size());
  for (const auto& x : left)
    for (const auto& y : right) {
      Dim::Term term{MulInt(x.coefficient, y.coefficient), x.factors};
      term.factors.insert(term.factors.end(), y.factors.begin(), y.factors.end());
      product.push_back(std::move(term));
    }
  return Dim::FromTerms(std::move(product));
}

bool Dim::IsCappedAt(const Dim& a, const Dim& b) {
  if (a.IsConst() || a.terms_->size() != 1) return false;
  const Term& term = a.terms_->front();
  if (term.coefficient != 1 || term.factors.size() != 1) return false;
  const Atom& atom = term.factors.front();
  if (atom.symbol >= 0 || atom.fn != Fn::kMin) return false;
  const auto& [x, y] = *atom.args;
  return (x == b && y.IsConst() && y.Const() > 0) || (y == b && x.IsConst() && x.Const() > 0);
}

bool Dim::IsNonNegative(const Atom& atom) {
  if (atom.symbol >= 0) return true;
  const auto& [a, b] = *atom.args;
  switch (atom.fn) {
    case Fn::kMod:
      return b.IsNonNegative();  // the remainder has the divisor's sign
    case Fn::kMax:
      return a.IsNonNegative() || b.IsNonNegative();
    default:
      return a.IsNonNegative() && b.IsNonNegative();
  }
}

bool Dim::IsNonNegative() const {
  if (IsConst()) return constant_ >= 0;
  return std::all_of(terms_->begin(), terms_->end(), [](const Term& term) {
    return term.coefficient >= 0 &&
           std::all_of(term.factors.begin(), term.factors.end(), [](const Atom& atom) { return IsNonNegative(atom); });
  });
}

int64_t Dim::Evaluate(Fn fn, int64_t a, int64_t b) {
  switch (fn) {
    case Fn::kFloorDiv:
    case Fn::kMod: {
      if (b == 0) throw Error(Code::kInvalidArgument, "dimension arithmetic divides ", a, " by zero");
      if (b == -1) return fn == Fn::kMod ? 0 : MulInt(a, -1);
      int64_t quotient = a / b, rest = a % b;
      if (rest != 0 && (rest < 0) != (b < 0)) --quotient, rest += b;
      return fn == Fn::kMod ? rest : quotient;
    }
    case Fn::kMax:
      return std::max(a, b);
    case Fn::kMin:
      return std::min(a, b);
    case Fn::kBroadcast:
      return a == 1 ? b : a;
  }
  return 0;
}

Dim Dim::Apply(Fn fn, const Dim& a, const Dim& b) {
  if (a.IsConst() && b.IsConst()) return Dim(Evaluate(fn, a.constant_, b.constant_));
  const size_t size = 1 + (a.terms_ ? Weigh(*a.terms_) : 0) + (b.terms_ ? Weigh(*b.terms_) : 0);
  return FromTerms({Term{1, {Atom{-1, fn, std::make_shared<const std::pair<Dim, Dim>>(a, b), size}}}});
}

std::optional<Dim> ExactDiv(const Dim& a, const Dim& b) {
  if (b.IsConst(0)) return std::nullopt;
  if (b.IsConst(1)) return a;
  if (a.IsConst(0)) return a;
  if (a == b) return Dim(1);
  const Dim::Terms divisor = Dim::ToTerms(b);
  if (divisor.size() != 1) return std::nullopt;  // a sum divides nothing but itself here
  Dim::Terms quotient;
  for (Dim::Term term : Dim::ToTerms(a)) {
    if (divisor[0].coefficient == -1) {
      term.coefficient = MulInt(term.coefficient, -1);
    } else {
      if (term.coefficient % divisor[0].coefficient != 0) return std::nullopt;
      term.coefficient /= divisor[0].coefficient;
    }
    for (const auto& factor : divisor[0].factors) {
      auto found = std::find_if(term.factors.begin(), term.factors.end(),
                                [&](const auto& other) { return Dim::CompareAtoms(other, factor) == 0; });
      if (found == term.factors.end()) return std::nullopt;
      term.factors.erase(found);
    }
    quotient.push_back(std::move(term));
  }
  return Dim::FromTerms(std::move(quotient));
}

Dim FloorDiv(const Dim& a, const Dim& b) {
  if (auto exact = ExactDiv(a, b)) return *exact;
  return Dim::Apply(Dim::Fn::kFloorDiv, a, b);
}
Dim CeilDiv(const Dim& a, const Dim& b) {
  if (auto exact = ExactDiv(a, b)) return *exact;
  return Dim(0) - FloorDiv(Dim(0) - a, b);
}
Dim Mod(const Dim& a, const Dim& b) {
  if (ExactDiv(a, b)) return Dim(0);
  return Dim::Apply(Dim::Fn::kMod, a, b);
}
Dim Max(const Dim& a, const Dim& b) {
  const Dim difference = a - b;
  if (difference.IsNonNegative()) return a;
  if ((Dim(0) - difference).IsNonNegative()) return b;
  return Dim::Apply(Dim::Fn::kMax, a, b);
}
Dim Min(const Dim& a, const Dim& b) {
  const Dim difference = a - b;
  if (difference.IsNonNegative()) return b;
  if ((Dim(0) - difference).IsNonNegative()) return a;
  return Dim::Apply(Dim::Fn::kMin, a, b);
}
Dim Broadcast(const Dim& a, const Dim& b) {
  if (a == b || b.IsConst(1)) return a;
  if (a.IsConst(1)) return b;
  if (a.IsConst()) return a;  // the other is 1 or equal, or the kernel refuses
  if (b.IsConst()) return b;
  // min(b, 512) and b: equal, or refused by the kernel; a slice of a longer table meets what it was cut for.
  if (Dim::IsCappedAt(a, b)) return b;
  if (Dim::IsCappedAt(b, a)) return a;
  return Dim::Apply(Dim::Fn::kBroadcast, a, b);
}

int64_t Dim::Eval(std::span<const int64_t> symbols) const {
  if (IsConst()) return constant_;
  int64_t sum = 0;
  for (const Term& term : *terms_) {
    int64_t product = term.coefficient;
    for (const Atom& atom : term.factors) {
      int64_t value;
      if (atom.symbol >= 0) {
        ZIGGURAT_CHECK(static_cast<size_t>(atom.symbol) < symbols.size());
        value = symbols[atom.symbol];
      } else {
        value = Evaluate(atom.fn, atom.args->first.Eval(symbols), atom.args->second.Eval(symbols));
      }
      product = MulInt(product, value);
    }
    sum = AddInt(sum, product);
  }
  return sum;
}

void Dim::CollectSymbols(std::set<SymbolId>& out) const {
  if (IsConst()) return;
  for (const Term& term : *terms_)
    for (const Atom& atom : term.factors) {
      if (atom.symbol >= 0) {
        out.insert(atom.symbol);
      } else {
        atom.args->first.CollectSymbols(out);
        atom.args->second.CollectSymbols(out);
      }
    }
}

Dim Dim::Substitute(const std::function<Dim(SymbolId)>& replacement) const {
  if (IsConst()) return *this;
  Dim sum(0);
  for (const Term& term : *terms_) {
    Dim product(term.coefficient);
    for (const Atom& atom : term.factors) {
      if (atom.symbol >= 0) {
        product = product * replacement(atom.symbol);
        continue;
      }
      const Dim a = atom.args->first.Substitute(replacement), b = atom.args->second.Substitute(replacement);
      switch (atom.fn) {
        case Fn::kFloorDiv:
          product = product * FloorDiv(a, b);
          break;
        case Fn::kMod:
          product = product * Mod(a, b);
          break;
        case Fn::kMax:
          product = product * Max(a, b);
          break;
        case Fn::kMin:
          product = product * Min(a, b);
          break;
        case Fn::kBroadcast:
          product = product * Broadcast(a, b);
          break;
      }
    }
    sum = sum + product;
  }
  return sum;
}

std::string Dim::ToString(const std::function<std::string(SymbolId)>& name) const {
  if (IsConst()) return std::to_string(constant_);
  static constexpr const char* kNames[] = {"floordiv", "mod", "max", "min", "broadcast"};
  std::string out;
  for (const Term& term : *terms_) {
    int64_t coefficient = term.coefficient;
    if (!out.empty()) out += coefficient < 0 ? "-" : "+";
    if (!out.empty() && coefficient < 0) coefficient = -coefficient;
    const bool one = coefficient == 1 && !term.factors.empty();
    if (!one) out += std::to_string(coefficient);
    bool first = one;
    for (const Atom& atom : term.factors) {
      if (!first) out += "*";
      first = false;
      if (atom.symbol >= 0)
        out += name(atom.symbol);
      else
        out += Cat(kNames[static_cast<int>(atom.fn)], "(", atom.args->first.ToString(name), ",",
                   atom.args->second.ToString(name), ")");
    }
  }
  return out;
}

}  // namespace ziggurat
