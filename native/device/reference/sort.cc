// TopK and Unique: ops that need an order. NaN sorts as the largest number, as NumPy has it.
#include <algorithm>
#include <numeric>
#include <string>

#include "device/reference/moves.h"
#include "device/reference/plain.h"

namespace ziggurat::plain {
namespace {

template <typename C>
bool Below(const C& a, const C& b) {
  if constexpr (std::is_same_v<C, Complex>) {
    return a.real() != b.real() ? Below(a.real(), b.real()) : Below(a.imag(), b.imag());
  } else if constexpr (std::is_same_v<C, double>) {
    return a < b || (!IsNan(a) && IsNan(b));
  } else {
    return a < b;
  }
}

void TopK(const Args& args) {
  const TensorView& in = args.In(0);
  const AxisView view(in.shape, Axis(args.Int("axis", -1), in.shape.rank()));
  const int64_t k = LoadOne<int64_t>(args.In(1));
  if (k < 0 || k > view.size)
    throw Error(Code::kInvalidArgument, "K ", k, " is out of range for an axis of ", view.size);
  const bool largest = args.Int("largest", 1) != 0;
  std::vector<int64_t> offsets, positions;
  WithRealType(in.dtype, [&](auto zero) {
    using C = decltype(zero);
    const std::vector<C> x = LoadAll<C>(in);
    std::vector<int64_t> order(static_cast<size_t>(view.size));
    offsets.resize(static_cast<size_t>(view.outer * k * view.inner));
    positions.resize(offsets.size());
    for (int64_t o = 0; o < view.outer; ++o) {
      for (int64_t i = 0; i < view.inner; ++i) {
        const int64_t base = o * view.size * view.inner + i;
        std::iota(order.begin(), order.end(), 0);
        const auto before = [&](int64_t a, int64_t b) {  // equal values keep their order
          const C &p = x[base + a * view.inner], &q = x[base + b * view.inner];
          if (Below(p, q) || Below(q, p)) return largest ? Below(q, p) : Below(p, q);
          return a < b;
        };
        std::partial_sort(order.begin(), order.begin() + k, order.end(), before);
        for (int64_t n = 0; n < k; ++n) {
          const size_t at = static_cast<size_t>((o * k + n) * view.inner + i);
          positions[at] = order[n];
          offsets[at] = base + order[n] * view.inner;
        }
      }
    }
  });
  const int64_t count = static_cast<int64_t>(offsets.size());
  if (args.HasOut(0)) Gather(in, offsets.data(), count, args.Out(0), 0);
  if (args.HasOut(1)) StoreAll<int64_t>(args.Out(1), positions);
}

// Groups of equal slices: representative (first occurrence), members' count, and each slice's group.
struct Groups {
  std::vector<int64_t> first, count, group_of;
};

// `less` orders slices by content.
Groups Group(int64_t slices, bool sorted, FunctionRef<bool(int64_t, int64_t)> less) {
  std::vector<int64_t> order(static_cast<size_t>(slices));
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(), [&](int64_t a, int64_t b) { return less(a, b); });
  Groups groups;
  groups.group_of.resize(order.size());
  for (size_t i = 0; i < order.size(); ++i) {
    if (i == 0 || less(order[i - 1], order[i])) groups.first.push_back(order[i]), groups.count.push_back(0);
    ++groups.count.back();
    groups.group_of[order[i]] = static_cast<int64_t>(groups.first.size()) - 1;
  }
  if (sorted) return groups;
  // In order of first occurrence instead.
  std::vector<int64_t> rank(groups.first.size());
  std::iota(rank.begin(), rank.end(), 0);
  std::sort(rank.begin(), rank.end(), [&](int64_t a, int64_t b) { return groups.first[a] < groups.first[b]; });
  Groups out;
  std::vector<int64_t> place(rank.size());
  for (size_t i = 0; i < rank.size(); ++i) {
    out.first.push_back(groups.first[rank[i]]), out.count.push_back(groups.count[rank[i]]);
    place[rank[i]] = static_cast<int64_t>(i);
  }
  for (int64_t group : groups.group_of) out.group_of.push_back(place[group]);
  return out;
}

template <typename C>
Groups GroupSlices(const std::vector<C>& x, const AxisView& view, bool sorted) {
  return Group(view.size, sorted, [&](int64_t a, int64_t b) {
    for (int64_t o = 0; o < view.outer; ++o) {
      for (int64_t i = 0; i < view.inner; ++i) {
        const C &p = x[(o * view.size + a) * view.inner + i], &q = x[(o * view.size + b) * view.inner + i];
        if (Below(p, q)) return true;
        if (Below(q, p)) return false;
      }
    }
    return false;
  });
}

void Unique(const Args& args) {
  TensorView in = args.In(0);
  if (!args.node.Has("axis")) in.shape = Shape{in.Count()};
  const int axis = Axis(args.Int("axis", 0), in.shape.rank());
  const AxisView view(in.shape, axis);
  const bool sorted = args.Int("sorted", 1) != 0;
  Groups groups;
  if (in.dtype == DType::kString) {
    const std::string* text = in.As<const std::string>();
    groups = GroupSlices(std::vector<std::string>(text, text + in.Count()), view, sorted);
  } else {
    WithComputeType(in.dtype, [&](auto zero) { groups = GroupSlices(LoadAll<decltype(zero)>(in), view, sorted); });
  }
  const int64_t n = static_cast<int64_t>(groups.first.size());
  Shape shape = in.shape;
  shape[axis] = n;
  const TensorView out = args.Shaped(0, shape);
  for (int64_t o = 0; o < view.outer; ++o)
    for (int64_t k = 0; k < n; ++k)
      CopyRun(in, (o * view.size + groups.first[k]) * view.inner, out, (o * n + k) * view.inner, view.inner);
  if (args.HasOut(1)) StoreAll<int64_t>(args.Shaped(1, Shape{n}), groups.first);
  if (args.HasOut(2)) StoreAll<int64_t>(args.Shaped(2, Shape{view.size}), groups.group_of);
  if (args.HasOut(3)) StoreAll<int64_t>(args.Shaped(3, Shape{n}), groups.count);
}

constexpr PlainOp kOps[] = {{"TopK", TopK}, {"Unique", Unique}};

}  // namespace

std::span<const PlainOp> SortOps() { return kOps; }

}  // namespace ziggurat::plain
