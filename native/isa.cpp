#include <cstdlib>
#include <cstring>

#include "steps.hpp"
#if defined(NNLA_X86)
#include <immintrin.h>
#if defined(_MSC_VER)
#include <intrin.h>
#endif
#endif

namespace nnla {
namespace {

#if defined(NNLA_X86)
#if defined(_MSC_VER)
bool has(bool avx512) {
    int leaf1[4], leaf7[4];
    __cpuidex(leaf1, 1, 0);
    __cpuidex(leaf7, 7, 0);
    const bool saved = (leaf1[2] & (1 << 27)) != 0;
    const unsigned long long state = saved ? _xgetbv(0) : 0;
    if ((state & 6) != 6 || (leaf7[1] & (1 << 5)) == 0 || (leaf1[2] & (1 << 12)) == 0) return false;
    const int needed = (1 << 16) | (1 << 17) | (1 << 30) | (1 << 31);
    return !avx512 || ((state & 0xe6) == 0xe6 && (leaf7[1] & needed) == needed);
}
#else
bool has(bool avx512) {
    __builtin_cpu_init();
    if (!__builtin_cpu_supports("avx2") || !__builtin_cpu_supports("fma")) return false;
    return !avx512 || (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                       __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl"));
}
#endif
#endif

const InstructionSet& choose() {
#if defined(NNLA_X86)
    const char* asked = std::getenv("NNLA_ISA");
    const bool generic = asked != nullptr && std::strcmp(asked, "generic") == 0;
    const bool avx2 = asked != nullptr && std::strcmp(asked, "avx2") == 0;
    if (!generic && !avx2 && has(true)) return avx512_kernels();
    if (!generic && has(false)) return avx2_kernels();
#endif
    return generic_kernels();
}

}  // namespace

const InstructionSet& isa() {
    static const InstructionSet& chosen = choose();
    return chosen;
}

#if defined(NNLA_X86)
FlushDenormals::FlushDenormals() : saved_(_mm_getcsr()) { _mm_setcsr(saved_ | 0x8040u); }
FlushDenormals::~FlushDenormals() { _mm_setcsr(saved_); }
OrdinaryArithmetic::OrdinaryArithmetic() : saved_(_mm_getcsr()) { _mm_setcsr(saved_ & ~0x8040u); }
OrdinaryArithmetic::~OrdinaryArithmetic() { _mm_setcsr(saved_); }
#else
FlushDenormals::FlushDenormals() : saved_(0) {}
FlushDenormals::~FlushDenormals() { (void)saved_; }
OrdinaryArithmetic::OrdinaryArithmetic() : saved_(0) {}
OrdinaryArithmetic::~OrdinaryArithmetic() { (void)saved_; }
#endif

}  // namespace nnla
