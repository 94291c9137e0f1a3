// The kernels of a Lanczos basis for AVX2 with FMA.
#ifdef NNLA_X86
#include <immintrin.h>

#include "basis_impl.hpp"

namespace nnla {
namespace {

struct Avx2 {
    using type = __m256d;
    static constexpr int lanes = 4, rows4 = 3, rows2 = 4, rows1 = 8;  // sixteen registers
    static type zero() { return _mm256_setzero_pd(); }
    static type broadcast(double x) { return _mm256_set1_pd(x); }
    static type load(const double* p) { return _mm256_loadu_pd(p); }
    static void store(double* p, type x) { _mm256_storeu_pd(p, x); }
    static type add(type a, type b) { return _mm256_add_pd(a, b); }
    static type fmadd(type a, type b, type c) { return _mm256_fmadd_pd(a, b, c); }
    static type fnmadd(type a, type b, type c) { return _mm256_fnmadd_pd(a, b, c); }
};

}  // namespace

extern const BasisKernels basis_kernels_avx2;
constexpr BasisKernels basis_kernels_avx2 = basis_table<Avx2>();

}  // namespace nnla
#endif
