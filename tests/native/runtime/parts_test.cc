// Parts of tensors that lie in others: what is placed, and that nothing computes other bits than with copies.
#include "runtime/parts.h"

#include <cmath>
#include <cstring>
#include <random>

#include "check.h"
#include "ir/parser.h"
#include "runtime/model.h"

using namespace ziggurat;

namespace {

std::shared_ptr<Engine> MakeEngine(int threads) {
  EngineOptions options;
  options.threads = threads;
  return std::make_shared<Engine>(options);
}

// With `keep_constants`, nothing is placed.
std::unique_ptr<Model> Load(const std::string& text, bool copies, int threads = 2, bool optimize = false) {
  ModelOptions options;
  options.optimize = optimize;
  options.keep_constants = copies;
  return std::make_unique<Model>(MakeEngine(threads), ParseGraph(text), options);
}

using Bytes = std::vector<std::vector<std::byte>>;

Bytes RunOn(const Model& model, const Shape& shape) {
  std::vector<float> x(static_cast<size_t>(shape.Count()));
  for (size_t i = 0; i < x.size(); ++i) x[i] = i % 97 == 13 ? NAN : std::sin(static_cast<float>(i));
  RunRequest request;
  request.inputs = {{reinterpret_cast<std::byte*>(x.data()), DType::kFloat32, shape}};
  Bytes bytes;
  for (const Output& output : model.Run(request)) {
    const auto* data = output.view.As<std::byte>();
    bytes.emplace_back(data, data + output.view.Bytes());
  }
  return bytes;
}

int Count(const std::string& text, std::string_view what) {
  int count = 0;
  for (size_t at = text.find(what); at != std::string::npos; at = text.find(what, at + 1)) ++count;
  return count;
}

// Checks how many values of the plan lie in others, and the bits.
void CheckPlaced(const std::string& text, const Shape& shape, int parts, int rows, int columns) {
  const auto placed = Load(text, false), copied = Load(text, true);
  const std::string plan = placed->plan().ToString();
  CHECK(Count(plan, ", part of %") == parts && Count(plan, ", rows of %") == rows &&
            Count(plan, ", columns of %") == columns,
        plan);
  CHECK(Count(copied->plan().ToString(), " of %") == 0);
  for (int round = 0; round < 2; ++round) CHECK(RunOn(*placed, shape) == RunOn(*copied, shape), plan);
}

}  // namespace

TEST(splits_along_the_first_axis_that_is_not_1_are_rows) {
  CheckPlaced(
      "graph g(%x: float32[6,b]) {\n  %a, %b, %c = Split(%x) {axis = 0, num_outputs = 3}\n  %y = Mul(%a, %c)\n"
      "  %z = Sub(%y, %b)\n  return %z as z\n}\n",
      {6, 7}, 0, 3, 0);
  CheckPlaced(
      "graph g(%x: float32[1,6,b]) {\n  const @at: int64[1] = [-4]\n  const @to: int64[1] = [-1]\n"
      "  const @axis: int64[1] = [1]\n  %t = Tanh(%x)\n  %a = Slice(%t, @at, @to, @axis)\n"
      "  %r = Relu(%a)\n  return %r as r\n}\n",
      {1, 6, 5}, 0, 1, 0);
  // b may be 3, so that halves of the second axis are not in one piece.
  CheckPlaced(
      "graph g(%x: float32[b,6,3]) {\n  %a, %b = Split(%x) {axis = 1, num_outputs = 2}\n  %y = Mul(%a, %b)\n"
      "  return %y as y\n}\n",
      {3, 6, 3}, 0, 0, 0);
}

TEST(rows_of_rows_and_joined_rows_lie_where_they_belong) {
  CheckPlaced(
      "graph g(%x: float32[8,b]) {\n  %a, %b = Split(%x) {axis = 0, num_outputs = 2}\n"
      "  %c, %d = Split(%b) {axis = 0, num_outputs = 2}\n  %e = Sin(%c)\n  %f = Cos(%d)\n"
      "  %g = Tanh(%a)\n  %y = Concat(%f, %e, %g) {axis = 0}\n  return %y as y\n}\n",
      {8, 5}, 3, 4, 0);
  // Everything that a Split cut moves as one; reads from both sides of it stay right.
  CheckPlaced(
      "graph g(%x: float32[8,b]) {\n  %t = Tanh(%x)\n  %a, %b = Split(%t) {axis = 0, num_outputs = 2}\n"
      "  %e = Sin(%b)\n  %y = Concat(%e, %a, %b) {axis = 0}\n  return %y as y, %e as e\n}\n",
      {8, 5}, 1, 2, 0);
}

TEST(what_leaves_the_model_or_is_reshaped_stays_dense) {
  CheckPlaced(
      "graph g(%x: float32[6,b]) {\n  %a, %b = Split(%x) {axis = 0, num_outputs = 2}\n  %y = Relu(%a)\n"
      "  return %y as y, %b as b\n}\n",
      {6, 4}, 0, 1, 0);
  CheckPlaced(
      "graph g(%x: float32[b,6]) {\n  const @to: int64[2] = [-1, 1]\n"
      "  %a, %b = Split(%x) {axis = 1, num_outputs = 2}\n  %v = Reshape(%b, @to)\n  %r = Relu(%v)\n"
      "  %y = Add(%a, %a)\n  return %y as y, %r as r\n}\n",
      {5, 6}, 0, 0, 1);
  CheckPlaced(
      "graph g(%x: float32[b,6]) {\n  %s = Add(%x, %x)\n  %t = Mul(%x, %x)\n"
      "  %y = Concat(%s, %t) {axis = 1}\n  %z = Add(%s, %s)\n  return %y as y, %t as t, %z as z\n}\n",
      {5, 6}, 1, 0, 0);
}

TEST(a_part_is_never_written_over) {
  // The sum is the last to read the half, and of its shape: with a copy it would be written in place.
  CheckPlaced(
      "graph g(%x: float32[b,8]) {\n  %t = Mul(%x, %x)\n  %a, %b = Split(%t) {axis = 1, num_outputs = 2}\n"
      "  %s = Add(%b, %b)\n  %u = Add(%s, %a)\n  return %u as u\n}\n",
      {9, 8}, 0, 0, 2);
  // A prefix that is read after the whole was: the whole may not be written over before.
  CheckPlaced(
      "graph g(%x: float32[b,8]) {\n  %p = Add(%x, %x)\n  %q = Mul(%x, %x)\n"
      "  %w = Concat(%p, %q) {axis = 1}\n  %r = Relu(%w)\n  %s = Mul(%p, %p)\n"
      "  return %r as r, %s as s\n}\n",
      {9, 8}, 2, 0, 0);
}

TEST(little_that_is_read_late_does_not_keep_the_rest) {
  std::string text =
      "graph g(%x: float32[16,b]) {\n  const @at: int64[1] = [5]\n  const @to: int64[1] = [6]\n"
      "  const @axis: int64[1] = [0]\n  %t = Tanh(%x)\n  %a = Slice(%t, @at, @to, @axis)\n  %v = Sin(%t)\n"
      "  %w = Cos(%v)\n  %y = Sqrt(%a)\n  return %y as y, %w as w\n}\n";
  CheckPlaced(text, {16, 3}, 0, 0, 0);
  text.replace(text.find("[5]"), 3, "[2]");
  CheckPlaced(text, {16, 3}, 0, 1, 0);
}

namespace {

// Values [lead, spatial..., columns] of many widths that are split, sliced, joined and computed with.
class RandomParts {
 public:
  RandomParts(std::mt19937& random, bool rows) : random_(random), rows_(rows) {
    text_ = rows ? "graph g(%v0: float32[1,12,b]) {\n" : "graph g(%v0: float32[b,4,5,12]) {\n";
    values_.push_back({"v0", 12});
  }

  std::string Make(int nodes) {
    for (int i = 0; i < nodes; ++i) AddOne();
    std::string outputs = Cat("%", values_.back().name, " as y0");
    for (int i = 1; i < 4; ++i) outputs += Cat(", %", Any().name, " as y", i);
    return Cat(constants_.insert(0, text_.substr(0, text_.find('\n') + 1)), text_.substr(text_.find('\n') + 1),
               "  return ", outputs, "\n}\n");
  }

 private:
  struct Value {
    std::string name;
    int extent;
  };

  Value Any() {
    return values_[random_() % 3 ? values_.size() - 1 - random_() % std::min<size_t>(values_.size(), 5)
                                 : random_() % values_.size()];
  }
  std::string New(int extent) {
    values_.push_back({Cat("v", values_.size()), extent});
    return values_.back().name;
  }
  std::string Vector(int value) {
    const std::string name = Cat("c", constant_++);
    constants_ += Cat("  const @", name, ": int64[1] = [", value, "]\n");
    return name;
  }

  void AddOne() {
    const Value x = Any();
    const int axis = rows_ ? 1 : 3;
    switch (random_() % (rows_ ? 6 : 9)) {
      case 0:
      case 1: {
        std::string parts = Cat("%", x.name);
        int extent = x.extent;
        for (int i = 1 + static_cast<int>(random_() % 2); i > 0; --i) {
          const Value other = Any();
          if (extent + other.extent > 60) continue;
          parts += Cat(", %", other.name), extent += other.extent;
        }
        text_ += Cat("  %", New(extent), " = Concat(", parts, ") {axis = ", axis, "}\n");
        return;
      }
      case 2: {
        if (x.extent < 2) return;
        const int first = 1 + static_cast<int>(random_() % static_cast<unsigned>(x.extent - 1));
        const std::string name = Cat("c", constant_++);
        constants_ += Cat("  const @", name, ": int64[2] = [", first, ", ", x.extent - first, "]\n");
        const std::string left = New(first), right = New(x.extent - first);
        text_ += Cat("  %", left, ", %", right, " = Split(%", x.name, ", @", name, ") {axis = ", axis, "}\n");
        return;
      }
      case 3: {
        const int from = static_cast<int>(random_() % static_cast<unsigned>(x.extent));
        const int to = from + 1 + static_cast<int>(random_() % static_cast<unsigned>(x.extent - from));
        const std::string at = Vector(from), end = Vector(to), along = Vector(axis);
        text_ += Cat("  %", New(to - from), " = Slice(%", x.name, ", @", at, ", @", end, ", @", along, ")\n");
        return;
      }
      case 4:
        text_ += Cat("  %", New(x.extent), " = Tanh(%", x.name, ")\n");
        return;
      case 5: {
        const std::string other = values_[Alike(x.extent)].name, op = random_() % 2 ? "Add" : "Mul";
        text_ += Cat("  %", New(x.extent), " = ", op, "(%", x.name, ", %", other, ")\n");
        return;
      }
      default:
        AddWindow(x);
    }
  }

  size_t Alike(int extent) {
    size_t i = random_() % values_.size();
    while (values_[i].extent != extent) i = (i + 1) % values_.size();
    return i;
  }

  void AddWindow(const Value& x) {
    if (random_() % 3 == 0) {
      text_ += Cat("  %", New(x.extent), " = zig.ChannelsLastPool(%", x.name,
                   ") {kernel_shape = [3, 3], kind = \"max\", pads = [1, 1, 1, 1]}\n");
      return;
    }
    const bool depthwise = random_() % 2, point = random_() % 2;
    const int out = depthwise ? x.extent : 1 + static_cast<int>(random_() % 20), k = point ? 1 : 3;
    const std::string w = Cat("c", constant_++);
    constants_ += Cat("  const @", w, ": float32[", out, ",", depthwise ? 1 : x.extent, ",", k, ",", k, "] = rand(",
                      1 + random_() % 999, ")\n");
    const std::string pads = point ? "" : ", pads = [1, 1, 1, 1]", from = x.name;
    text_ += Cat("  %", New(out), " = zig.FusedConv(%", from, ", @", w,
                 ") {channels_last = 1, group = ", depthwise ? x.extent : 1, pads, "}\n");
  }

  std::mt19937& random_;
  bool rows_;
  int constant_ = 0;
  std::string text_, constants_;
  std::vector<Value> values_;
};

}  // namespace

TEST(random_graphs_of_parts_have_the_bits_of_copies) {
  std::mt19937 random(31);
  int parts = 0, rows = 0, columns = 0, side_by_side = 0;
  for (int round = 0; round < 150; ++round) {
    const bool by_rows = round % 3 == 0;
    const std::string text = RandomParts(random, by_rows).Make(8 + static_cast<int>(random() % 40));
    for (bool optimize : {false, true}) {
      const auto copied = Load(text, true, 1, optimize);
      for (int threads : {1, 3}) {
        const auto placed = Load(text, false, threads, optimize);
        const std::string plan = placed->plan().ToString();
        parts += Count(plan, ", part of %"), rows += Count(plan, ", rows of %");
        columns += Count(plan, ", columns of %");
        LayoutCache layouts(placed->plan(), threads);
        const std::vector<int64_t> forty(placed->plan().graph->symbols().size(), 40);
        side_by_side += !layouts.Get(forty)->branches.empty();
        // Offsets made for five serve four.
        for (int64_t b : {3, 1, 40, 5, 4}) {
          const Shape shape = by_rows ? Shape{1, 12, b} : Shape{b, 4, 5, 12};
          CHECK(RunOn(*placed, shape) == RunOn(*copied, shape), "b = ", b, "\n", text, plan);
        }
      }
    }
  }
  CHECK(parts > 500 && rows > 200 && columns > 300 && side_by_side > 20, parts, " ", rows, " ", columns, " ",
        side_by_side);
}
