// Registers of float64, for the kernels that are templates of them; in files for one instruction set only.
#pragma once
#include <cstdint>
#include <immintrin.h>

namespace nnla {
namespace {

alignas(32) const std::int64_t kMasks[8] = {-1, -1, -1, -1, 0, 0, 0, 0};

struct Avx2 {
    using type = __m256d;
    static constexpr int lanes = 4;
    static __m256i mask(int count) {
        return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(kMasks + 4 - count));
    }
    static type zero() { return _mm256_setzero_pd(); }
    static type broadcast(double x) { return _mm256_set1_pd(x); }
    static type load(const double* p) { return _mm256_loadu_pd(p); }
    static type load_part(const double* p, int count) { return _mm256_maskload_pd(p, mask(count)); }
    static void store(double* p, type x) { _mm256_storeu_pd(p, x); }
    static void store_part(double* p, type x, int count) {
        alignas(32) double part[4];
        _mm256_store_pd(part, x);
        for (int i = 0; i < count; ++i) p[i] = part[i];
    }
    static double first(type x) { return _mm_cvtsd_f64(_mm256_castpd256_pd128(x)); }
    static type add(type a, type b) { return _mm256_add_pd(a, b); }
    static type multiply(type a, type b) { return _mm256_mul_pd(a, b); }
    static type subtract(type a, type b) { return _mm256_sub_pd(a, b); }
    static type fmadd(type a, type b, type c) { return _mm256_fmadd_pd(a, b, c); }
    static type fnmadd(type a, type b, type c) { return _mm256_fnmadd_pd(a, b, c); }
    static double total(type x) {
        alignas(32) double part[4];
        _mm256_store_pd(part, x);
        return (part[0] + part[1]) + (part[2] + part[3]);
    }
};

}  // namespace
}  // namespace nnla
