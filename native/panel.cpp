// The dense kernels for any processor, and the choice among them.
#include "panel.hpp"

#include <cstdlib>
#include <cstring>

#include "panel_impl.hpp"
#if defined(NNLA_X86) && defined(_MSC_VER) && !defined(__clang__)
#include <intrin.h>
#endif

namespace nnla {
namespace {

struct Generic {
    struct type {
        double x[4];
    };
    static constexpr int lanes = 4, rows = 1, columns = 4;
    static type zero() { return {{0, 0, 0, 0}}; }
    static type broadcast(double x) { return {{x, x, x, x}}; }
    static type load(const double* p) { return {{p[0], p[1], p[2], p[3]}}; }
    static type load_part(const double* p, int count) {
        type out = zero();
        for (int i = 0; i < count; ++i) out.x[i] = p[i];
        return out;
    }
    static void store(double* p, const type& x) {
        for (int i = 0; i < 4; ++i) p[i] = x.x[i];
    }
    static void store_part(double* p, const type& x, int count) {
        for (int i = 0; i < count; ++i) p[i] = x.x[i];
    }
    static type multiply(const type& a, const type& b) {
        type out;
        for (int i = 0; i < 4; ++i) out.x[i] = a.x[i] * b.x[i];
        return out;
    }
    static type fnmadd(const type& a, const type& b, const type& c) {
        type out;
        for (int i = 0; i < 4; ++i) out.x[i] = c.x[i] - a.x[i] * b.x[i];
        return out;
    }
    static double total(const type& x) { return (x.x[0] + x.x[1]) + (x.x[2] + x.x[3]); }
};

const PanelKernels generic = kernels_of<Generic>();

#ifdef NNLA_X86
// 2: AVX-512 (F, BW, DQ, VL), 1: AVX2 and FMA, 0: neither, of processor and operating system.
int processor_level() {
#if defined(_MSC_VER) && !defined(__clang__)
    int info[4];
    __cpuid(info, 0);
    if (info[0] < 7) return 0;
    __cpuidex(info, 1, 0);
    if ((info[2] & (1 << 27)) == 0 || (info[2] & (1 << 12)) == 0) return 0;  // OSXSAVE, FMA
    const unsigned long long state = _xgetbv(0);
    __cpuidex(info, 7, 0);
    const unsigned needed = 1u << 16 | 1u << 17 | 1u << 30 | 1u << 31;
    if ((state & 0xe6) == 0xe6 && (static_cast<unsigned>(info[1]) & needed) == needed) return 2;
    return (state & 6) == 6 && (info[1] & (1 << 5)) != 0 ? 1 : 0;
#else
    __builtin_cpu_init();
    if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
        __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl"))
        return 2;
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") ? 1 : 0;
#endif
}
#endif

}  // namespace

#ifdef NNLA_X86
extern const PanelKernels panel_kernels_avx2, panel_kernels_avx512;
#endif

const PanelKernels& panel_kernels() {
#ifdef NNLA_X86
    static const int level = [] {
        const char* wanted = std::getenv("NNLA_ISA");  // for tests: generic, avx2
        const int best = processor_level();
        if (wanted != nullptr && std::strcmp(wanted, "generic") == 0) return 0;
        if (wanted != nullptr && std::strcmp(wanted, "avx2") == 0 && best > 1) return 1;
        return best;
    }();
    if (level == 2) return panel_kernels_avx512;
    if (level == 1) return panel_kernels_avx2;
#endif
    return generic;
}

}  // namespace nnla
