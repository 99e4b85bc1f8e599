#include "cpu/attention_table.h"

#include "base/error.h"

namespace ziggurat::cpu {

#if defined(__x86_64__)
namespace sse42 {
extern const AttentionKernels kAttentionKernels;
}
namespace avx2 {
extern const AttentionKernels kAttentionKernels;
}
namespace avx512 {
extern const AttentionKernels kAttentionKernels;
}
namespace avx512vnni {
extern const AttentionKernels kAttentionKernels;
}
#endif

const AttentionKernels& AttentionOf(const KernelTable& table) {
  const std::string_view isa = table.isa;
#if defined(__x86_64__)
  if (isa == "sse42") return sse42::kAttentionKernels;
  if (isa == "avx2") return avx2::kAttentionKernels;
  if (isa == "avx512") return avx512::kAttentionKernels;
  if (isa == "avx512vnni") return avx512vnni::kAttentionKernels;
#endif
  throw Error(Code::kInternal, "no attention kernels for ", isa);
}

}  // namespace ziggurat::cpu
