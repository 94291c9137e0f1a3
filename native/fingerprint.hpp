// What tells whether an array has changed, at the speed at which memory is read.
#pragma once
#include <cstddef>
#include <cstdint>

namespace nnla {

// 64 bits of the bytes. A change within one word of eight bytes is always seen, any other one but for a chance of 2^-64.
// Not for secrets: whoever wants to can make two arrays of one fingerprint.
std::uint64_t fingerprint(const std::uint8_t* bytes, std::size_t count, std::uint64_t seed);

// Whether two pieces of memory hold the same bytes; stops at the first difference, or nearly.
bool same_bytes(const void* a, const void* b, std::size_t count);

}  // namespace nnla
