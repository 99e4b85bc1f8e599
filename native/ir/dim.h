// A dimension: an integer expression over symbols, kept in a normal form so that equal dimensions compare equal.
//
// The form is a polynomial with integer coefficients whose atoms are symbols and opaque functions (FloorDiv, Mod,
// Max, Min, Broadcast) of two dimensions. Immutable, cheap to copy, needs no context.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <vector>

namespace ziggurat {

// Index into the symbol table of the outermost graph.
using SymbolId = int32_t;

class Dim {
 public:
  Dim(int64_t value = 0) : constant_(value) {}  // NOLINT: a number is a dimension
  static Dim Symbol(SymbolId id);

  bool IsConst() const { return terms_ == nullptr; }
  bool IsConst(int64_t value) const { return IsConst() && constant_ == value; }
  int64_t Const() const;  // IsConst() only
  // True where the form shows it, every symbol being a dimension and so at least 0; false where it does not show.
  bool IsNonNegative() const;
  std::optional<SymbolId> AsSymbol() const;  // where the dimension is one symbol and nothing else

  friend Dim operator+(const Dim& a, const Dim& b);
  friend Dim operator-(const Dim& a, const Dim& b);
  friend Dim operator*(const Dim& a, const Dim& b);
  friend bool operator==(const Dim& a, const Dim& b) { return Compare(a, b) == 0; }

  // Division and remainder round towards minus infinity; a zero divisor evaluates to an error.
  friend Dim FloorDiv(const Dim& a, const Dim& b);
  friend Dim CeilDiv(const Dim& a, const Dim& b);
  friend Dim Mod(const Dim& a, const Dim& b);
  friend Dim Max(const Dim& a, const Dim& b);
  friend Dim Min(const Dim& a, const Dim& b);
  // NumPy broadcasting of two extents: b where a is 1, otherwise a. Kernels check that a is 1, b is 1 or a equals b.
  friend Dim Broadcast(const Dim& a, const Dim& b);
  // a / b where b divides a as a polynomial (Reshape's -1); nullopt where that cannot be seen.
  friend std::optional<Dim> ExactDiv(const Dim& a, const Dim& b);

  // Value under an assignment of symbols. Throws kInvalidArgument on overflow or division by zero.
  int64_t Eval(std::span<const int64_t> symbols) const;
  void CollectSymbols(std::set<SymbolId>& out) const;
  Dim Substitute(const std::function<Dim(SymbolId)>& replacement) const;
  std::string ToString(const std::function<std::string(SymbolId)>& name) const;

 private:
  enum class Fn : uint8_t { kFloorDiv, kMod, kMax, kMin, kBroadcast };
  struct Atom;
  struct Term;
  using Terms = std::vector<Term>;

  static int Compare(const Dim& a, const Dim& b);
  static int CompareAtoms(const Atom& a, const Atom& b);
  static int CompareFactors(const std::vector<Atom>& a, const std::vector<Atom>& b);
  static Dim Apply(Fn fn, const Dim& a, const Dim& b);
  static bool IsNonNegative(const Atom& atom);
  static bool IsCappedAt(const Dim& a, const Dim& b);  // a is min(b, a positive number)
  static int64_t Evaluate(Fn fn, int64_t a, int64_t b);
  static Dim FromTerms(Terms terms);
  static Terms ToTerms(const Dim& dim);

  int64_t constant_ = 0;
  std::shared_ptr<const Terms> terms_;  // null for a constant
};

std::optional<Dim> ExactDiv(const Dim& a, const Dim& b);
Dim FloorDiv(const Dim& a, const Dim& b);
Dim CeilDiv(const Dim& a, const Dim& b);
Dim Mod(const Dim& a, const Dim& b);
Dim Max(const Dim& a, const Dim& b);
Dim Min(const Dim& a, const Dim& b);
Dim Broadcast(const Dim& a, const Dim& b);

}  // namespace ziggurat
