// Band factorisation for AVX2 with FMA.
#ifdef NNLA_X86
#include "band_impl.hpp"
#include "registers_avx2.hpp"

namespace nnla {

extern const BandKernels band_kernels_avx2;
constexpr BandKernels band_kernels_avx2 = band_table<Avx2>();

}  // namespace nnla
#endif
