// Tells a process from its forked children. Threads do not survive fork(), and locks may be held for ever in a child:
// what belongs to an engine is neither used nor freed there.
#pragma once

#include <sys/mman.h>
#include <unistd.h>

namespace ziggurat {

class ForkGuard {
 public:
  ForkGuard() : owner_(getpid()) {
#if defined(MADV_WIPEONFORK)
    void* page = mmap(nullptr, kBytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (page == MAP_FAILED) return;
    if (madvise(page, kBytes, MADV_WIPEONFORK) == 0) {
      here_ = static_cast<volatile char*>(page);
      *here_ = 1;
    } else {
      munmap(page, kBytes);
    }
#endif
  }
  ~ForkGuard() {
    if (here_) munmap(const_cast<char*>(here_), kBytes);
  }
  ForkGuard(const ForkGuard&) = delete;
  ForkGuard& operator=(const ForkGuard&) = delete;

  // One load where the kernel wipes the page in a child (Linux 4.14), a system call elsewhere.
  bool InChild() const { return here_ ? *here_ == 0 : getpid() != owner_; }

 private:
  static constexpr unsigned long kBytes = 4096;
  pid_t owner_;
  volatile char* here_ = nullptr;
};

}  // namespace ziggurat
