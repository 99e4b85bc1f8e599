// Whole huge pages of the operating system. The only place of the engine that maps memory.
#pragma once

#include <cstddef>

namespace ziggurat {

inline constexpr size_t kHugePage = size_t{2} << 20;

// `bytes`, a multiple of 4 KiB, zeroed, with nothing behind them until they are touched; null if the system refuses.
// From kHugePage on they start at a multiple of it, and huge pages are asked for as far as whole ones fit: none holds
// memory that was not wanted.
std::byte* MapPages(size_t bytes);
void UnmapPages(std::byte* data, size_t bytes);

// Addresses alone, aligned to huge pages, for memory that is to grow in one piece; null if the system refuses, or where
// the process has a limit of its addresses, which these would use up.
std::byte* ReserveAddresses(size_t bytes);
// Makes whole huge pages of reserved addresses usable, as MapPages does; false if the system refuses.
bool CommitPages(std::byte* data, size_t bytes);
// Memory and the promise of it go back, addresses stay reserved.
void DecommitPages(std::byte* data, size_t bytes);
// Of reserved ones of which nothing is committed.
void ReleaseAddresses(std::byte* data, size_t bytes);

// Gives the memory behind whole pages of 4 KiB back and keeps the addresses: the next touch finds zeros.
void DiscardPages(std::byte* data, size_t bytes);

// Tells AddressSanitizer, where it is on, what nobody may touch.
void ForbidAccess(const std::byte* data, size_t bytes);
void PermitAccess(const std::byte* data, size_t bytes);
// Whether it is on and this byte is forbidden.
bool IsForbidden(const std::byte* data);

}  // namespace ziggurat
