// The kernels of a Lanczos basis for AVX-512.
#ifdef NNLA_X86
#include <immintrin.h>

#include "basis_impl.hpp"

namespace nnla {
namespace {

struct Avx512 {
    using type = __m512d;
    static constexpr int lanes = 8, rows4 = 6, rows2 = 8, rows1 = 8;  // thirty-two registers
    static type zero() { return _mm512_setzero_pd(); }
    static type broadcast(double x) { return _mm512_set1_pd(x); }
    static type load(const double* p) { return _mm512_loadu_pd(p); }
    static void store(double* p, type x) { _mm512_storeu_pd(p, x); }
    static type add(type a, type b) { return _mm512_add_pd(a, b); }
    static type fmadd(type a, type b, type c) { return _mm512_fmadd_pd(a, b, c); }
    static type fnmadd(type a, type b, type c) { return _mm512_fnmadd_pd(a, b, c); }
};

}  // namespace

extern const BasisKernels basis_kernels_avx512;
constexpr BasisKernels basis_kernels_avx512 = basis_table<Avx512>();

}  // namespace nnla
#endif
