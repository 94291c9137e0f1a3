// The kernels of a Lanczos basis for AVX2 with FMA.
#ifdef NNLA_X86
#include "basis_impl.hpp"
#include "registers_avx2.hpp"

namespace nnla {
namespace {

struct Basis : Avx2 {
    static constexpr int rows4 = 3, rows2 = 4, rows1 = 8;  // sixteen registers
};

}  // namespace

extern const BasisKernels basis_kernels_avx2;
constexpr BasisKernels basis_kernels_avx2 = basis_table<Basis>();

}  // namespace nnla
#endif
