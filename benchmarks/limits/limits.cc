// limits [--json] [--threads N] [--seconds S] [--isa NAME]: what this machine can do, and what our kernels get of it.
//
// Each figure is the best of many short runs: on a shared machine the best is what the hardware does.
#include <sys/mman.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "base/cpu_info.h"
#include "base/error.h"
#include "base/thread_pool.h"
#include "cpu/kernel_table.h"
#include "cpu/ops/gemm_tasks.h"
#include "limits/peak.h"

#if defined(__x86_64__)
#define ZIGGURAT_EACH_ISA(X) X(sse42) X(avx2) X(avx512) X(avx512vnni)
namespace ziggurat::cpu {
#define X(isa)                    \
  namespace isa {                 \
  extern const bench::Peak kPeak; \
  }
ZIGGURAT_EACH_ISA(X)
#undef X
}  // namespace ziggurat::cpu
#endif

namespace ziggurat::bench {
namespace {

using Clock = std::chrono::steady_clock;

struct Options {
  bool json = false;
  int threads = 0;
  double seconds = 0.3;  // a figure
  std::string isa;
};

struct Row {
  std::string what, unit;
  double value;
  double share;  // of the limit above it; 0: it is a limit itself
};

const Peak& PeakOf(std::string_view isa) {
#define X(name) \
  if (isa == #name) return cpu::name::kPeak;
  ZIGGURAT_EACH_ISA(X)
#undef X
  throw Error(Code::kInvalidArgument, "no such instruction set: ", isa);
}

double Seconds(Clock::time_point from) { return std::chrono::duration<double>(Clock::now() - from).count(); }

// The shortest of the runs that fit into `budget` seconds, at least five.
double Best(double budget, const std::function<void()>& run) {
  run();
  double best = 1e30;
  const Clock::time_point begin = Clock::now();
  for (int i = 0; i < 5 || Seconds(begin) < budget; ++i) {
    const Clock::time_point start = Clock::now();
    run();
    best = std::min(best, Seconds(start));
  }
  return best;
}

// Floats in huge pages where the system gives them, filled with small values.
class Floats {
 public:
  explicit Floats(size_t count) {
    constexpr size_t kHuge = size_t{2} << 20;
    const size_t bytes = (count * 4 + kHuge - 1) / kHuge * kHuge;
    data_.reset(static_cast<float*>(std::aligned_alloc(kHuge, bytes)));
    if (!data_) throw Error(Code::kOutOfMemory, "no ", bytes, " bytes");
    madvise(data_.get(), bytes, MADV_HUGEPAGE);
    for (size_t i = 0; i < count; ++i) data_.get()[i] = static_cast<float>(i * 7919 % 1000) / 1000.0f - 0.5f;
  }
  float* data() { return data_.get(); }

 private:
  struct Free {
    void operator()(float* p) const { std::free(p); }
  };
  std::unique_ptr<float, Free> data_;
};

class Bench {
 public:
  Bench(const Options& options, const cpu::KernelTable& table)
      : options_(options), table_(table), peak_(PeakOf(table.isa)), pool_(options.threads) {}

  std::vector<Row> Run() {
    Limits();
    for (auto [m, n, k] : {std::array<int64_t, 3>{1024, 1024, 1024},
                           {128, 768, 768},
                           {128, 3072, 768},
                           {128, 768, 3072},
                           {1, 4096, 4096},
                           {4, 4096, 4096}})
      Gemm(m, n, k);
    Conv("conv 64@56 3x3", 64, 64, 56, 3);
    Conv("conv 256@14 3x3", 256, 256, 14, 3);
    Conv("conv 512@7 3x3", 512, 512, 7, 3);
    Conv("conv 256@14 1x1", 256, 256, 14, 1);
    return rows_;
  }

 private:
  int threads() const { return pool_.size(); }

  // The same work on every thread.
  void OnAll(const std::function<void(int)>& work) {
    pool_.ParallelFor(threads(), threads(), [&](int64_t task, int) { work(static_cast<int>(task)); });
  }

  void Limits() {
    constexpr int64_t kRounds = 200000;
    double ops = 0;
    ops = peak_.fma(1);
    const double one = Best(options_.seconds, [&] { peak_.fma(kRounds); });
    const double all = Best(options_.seconds, [&] { OnAll([&](int) { peak_.fma(kRounds); }); });
    flops_ = ops * kRounds * threads() / all;
    Add("float32 multiply-add, 1 thread", ops * kRounds / one * 1e-9, "GF/s");
    Add(Cat("float32 multiply-add, ", threads(), " threads"), flops_ * 1e-9, "GF/s");
    const double int_ops = peak_.dot_int8(1);
    const double time = Best(options_.seconds, [&] { OnAll([&](int) { peak_.dot_int8(kRounds); }); });
    Add(Cat("int8 dot products, ", threads(), " threads"), int_ops * kRounds * threads() / time * 1e-9, "GOP/s");
    constexpr size_t kFloats = size_t{64} << 20;  // 256 MiB: beyond any cache
    Floats data(kFloats + 1024);
    volatile float sink = 0;
    for (int count = 1; count <= threads(); count = count < threads() ? std::min(2 * count, threads()) : count + 1) {
      const double time = Best(options_.seconds, [&] {
        pool_.ParallelFor(count, count, [&](int64_t task, int) {
          const size_t part = kFloats / static_cast<size_t>(count);
          sink = peak_.read(data.data() + part * static_cast<size_t>(task), part);
        });
      });
      bandwidth_ = static_cast<double>(kFloats) * 4 / time;
      Add(Cat("memory read, ", count, " threads"), bandwidth_ * 1e-9, "GB/s");
    }
    ForkJoin();
  }

  // Two tasks of 5 us: what the join adds to the longer of them.
  void ForkJoin() {
    if (threads() < 2) return;
    const auto spin = [](double us) {
      const Clock::time_point start = Clock::now();
      while (Seconds(start) < us * 1e-6) {
      }
    };
    double best = 1e30;
    for (int i = 0; i < 2000; ++i) {
      const Clock::time_point start = Clock::now();
      pool_.ParallelFor(2, 2, [&](int64_t, int) { spin(5); });
      best = std::min(best, Seconds(start));
    }
    Add("fork-join of 2 threads", best * 1e6 - 5, "us");
  }

  void Gemm(int64_t m, int64_t n, int64_t k) {
    const cpu::MatrixKernels& kernels = *table_.matrix;
    const int64_t nr = kernels.nr, panels = (n + nr - 1) / nr;
    Floats a(m * k), b(panels * nr * k), c(m * n);
    const int64_t step = cpu::RoundUp(kernels.gemm_scratch(m, k), 16);
    Floats scratch(step * threads());
    const cpu::GemmGrid grid = cpu::CutGemm(m, n, k, threads(), kernels.mr, kernels.nr);
    const double time = Best(options_.seconds, [&] {
      pool_.ParallelFor(grid.tasks(), threads(), [&](int64_t task, int worker) {
        cpu::GemmArgs args;
        const int64_t row0 = cpu::PartStart(m, grid.row_parts, task / grid.column_parts);
        const int64_t row1 = cpu::PartStart(m, grid.row_parts, task / grid.column_parts + 1);
        const int64_t panel0 = cpu::PartStart(panels, grid.column_parts, task % grid.column_parts);
        const int64_t panel1 = cpu::PartStart(panels, grid.column_parts, task % grid.column_parts + 1);
        args.m = row1 - row0, args.n = std::min(n, panel1 * nr) - panel0 * nr, args.k = k;
        args.a = {a.data() + row0 * k, DType::kFloat32, k, 1};
        args.b = b.data() + panel0 * nr * k, args.b_step = nr, args.b_panel = nr * k;
        args.c = c.data() + row0 * n + panel0 * nr, args.c_row = n;
        args.scratch = scratch.data() + worker * step;
        kernels.gemm(args);
      });
    });
    const double work = 2.0 * static_cast<double>(m * n * k), bytes = 4.0 * static_cast<double>(n * k);
    const bool streams = work / flops_ < bytes / bandwidth_;
    if (streams)
      Add(Cat("gemm ", m, "x", n, "x", k), bytes / time * 1e-9, "GB/s", bytes / time / bandwidth_);
    else
      Add(Cat("gemm ", m, "x", n, "x", k), work / time * 1e-9, "GF/s", work / time / flops_);
  }

  void Conv(const std::string& name, int64_t channels, int64_t outs, int64_t size, int64_t kernel) {
    const cpu::MatrixKernels& kernels = *table_.matrix;
    cpu::ConvShape shape;
    shape.channels = channels, shape.out_channels = outs;
    for (int i : {1, 2}) shape.in[i] = shape.out[i] = size, shape.kernel[i] = kernel, shape.pad[i] = kernel / 2;
    Floats x(channels * size * size), w(cpu::PackedAFloats(kernels, outs, shape.K())), y(outs * size * size);
    const int64_t step = cpu::RoundUp(kernels.conv_scratch(shape), 16);
    Floats scratch(step * threads());
    const int64_t pixels = size * size, panels = (pixels + kernels.nr - 1) / kernels.nr;
    const int64_t tiles = cpu::TileRows(outs, kernels.mr).count, each = int64_t{2} * threads();
    const int64_t pixel_parts = std::min(each, (panels + 1) / 2);
    const int64_t tile_parts = std::min(tiles, (each + pixel_parts - 1) / pixel_parts);
    const double time = Best(options_.seconds, [&] {
      pool_.ParallelFor(pixel_parts * tile_parts, threads(), [&](int64_t task, int worker) {
        cpu::ConvArgs args;
        args.shape = shape;
        args.input = x.data(), args.weights = w.data(), args.output = y.data();
        args.first_pixel = cpu::PartStart(panels, pixel_parts, task / tile_parts) * kernels.nr;
        args.last_pixel = std::min(pixels, cpu::PartStart(panels, pixel_parts, task / tile_parts + 1) * kernels.nr);
        args.first_tile = cpu::PartStart(tiles, tile_parts, task % tile_parts);
        args.last_tile = cpu::PartStart(tiles, tile_parts, task % tile_parts + 1);
        args.scratch = scratch.data() + worker * step;
        kernels.conv(args);
      });
    });
    const double work = 2.0 * static_cast<double>(shape.K() * outs * pixels);
    Add(name, work / time * 1e-9, "GF/s", work / time / flops_);
  }

  void Add(std::string what, double value, std::string unit, double share = 0) {
    rows_.push_back({std::move(what), std::move(unit), value, share});
  }

  Options options_;
  const cpu::KernelTable& table_;
  const Peak& peak_;
  ThreadPool pool_;
  std::vector<Row> rows_;
  double flops_ = 0, bandwidth_ = 0;
};

void PrintTable(const std::string& head, const std::vector<Row>& rows) {
  std::printf("%s\n", head.c_str());
  for (const Row& row : rows) {
    std::printf("%-36s %10.2f %-6s", row.what.c_str(), row.value, row.unit.c_str());
    row.share > 0 ? std::printf(" %5.1f %%\n", 100 * row.share) : std::printf("\n");
  }
}

void PrintJson(const cpu::KernelTable& table, int threads, const std::vector<Row>& rows) {
  std::printf("{\"cpu\": \"%s\", \"isa\": \"%s\", \"threads\": %d, \"rows\": [", DetectCpu().model.c_str(), table.isa,
              threads);
  for (size_t i = 0; i < rows.size(); ++i)
    std::printf("%s{\"what\": \"%s\", \"value\": %.6g, \"unit\": \"%s\", \"share\": %.4g}", i ? ", " : "",
                rows[i].what.c_str(), rows[i].value, rows[i].unit.c_str(), rows[i].share);
  std::printf("]}\n");
}

Options Read(int argc, char** argv) {
  Options options;
  for (int i = 1; i < argc; ++i) {
    const std::string_view word = argv[i];
    if (word == "--json") {
      options.json = true;
      continue;
    }
    if (i + 1 == argc) throw Error(Code::kInvalidArgument, word, " needs a value, or is unknown");
    const char* value = argv[++i];
    if (word == "--threads")
      options.threads = std::atoi(value);
    else if (word == "--seconds")
      options.seconds = std::atof(value);
    else if (word == "--isa")
      options.isa = value;
    else
      throw Error(Code::kInvalidArgument, "unknown option ", word);
  }
  if (options.threads == 0) options.threads = DetectThreads().threads;
  return options;
}

int Main(int argc, char** argv) {
  const Options options = Read(argc, argv);
  const auto& table = cpu::SelectKernels(options.isa.empty() ? std::nullopt : std::optional<std::string>(options.isa));
  const std::vector<Row> rows = Bench(options, table).Run();
  if (options.json)
    PrintJson(table, options.threads, rows);
  else
    PrintTable(Cat(DetectCpu().model, ", ", table.isa, ", ", options.threads, " threads; shares are of the limits"),
               rows);
  return 0;
}

}  // namespace
}  // namespace ziggurat::bench

int main(int argc, char** argv) {
  try {
    return ziggurat::bench::Main(argc, argv);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "limits: %s\n", error.what());
    return 1;
  }
}
