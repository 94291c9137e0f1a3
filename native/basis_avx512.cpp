// The kernels of a Lanczos basis for AVX-512.
#ifdef NNLA_X86
#include "basis_impl.hpp"
#include "registers_avx512.hpp"

namespace nnla {
namespace {

struct Basis : Avx512 {
    static constexpr int rows4 = 6, rows2 = 8, rows1 = 8;  // thirty-two registers
};

}  // namespace

extern const BasisKernels basis_kernels_avx512;
constexpr BasisKernels basis_kernels_avx512 = basis_table<Basis>();

}  // namespace nnla
#endif
