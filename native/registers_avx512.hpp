// Registers of float64, for the kernels that are templates of them; in files for one instruction set only.
#pragma once
#include <cstdint>
#include <immintrin.h>

namespace nnla {
namespace {

struct Avx512 {
    using type = __m512d;
    static constexpr int lanes = 8;
    static __mmask8 mask(int count) { return static_cast<__mmask8>((1u << count) - 1); }
    static type zero() { return _mm512_setzero_pd(); }
    static type broadcast(double x) { return _mm512_set1_pd(x); }
    static type load(const double* p) { return _mm512_loadu_pd(p); }
    static type load_part(const double* p, int count) { return _mm512_maskz_loadu_pd(mask(count), p); }
    static void store(double* p, type x) { _mm512_storeu_pd(p, x); }
    static void store_part(double* p, type x, int count) { _mm512_mask_storeu_pd(p, mask(count), x); }
    static double first(type x) { return _mm_cvtsd_f64(_mm512_castpd512_pd128(x)); }
    static type add(type a, type b) { return _mm512_add_pd(a, b); }
    static type multiply(type a, type b) { return _mm512_mul_pd(a, b); }
    static type subtract(type a, type b) { return _mm512_sub_pd(a, b); }
    static type fmadd(type a, type b, type c) { return _mm512_fmadd_pd(a, b, c); }
    static type fnmadd(type a, type b, type c) { return _mm512_fnmadd_pd(a, b, c); }
    static double total(type x) {
        alignas(64) double part[8];
        _mm512_store_pd(part, x);
        return ((part[0] + part[1]) + (part[2] + part[3])) + ((part[4] + part[5]) + (part[6] + part[7]));
    }
};

}  // namespace
}  // namespace nnla
