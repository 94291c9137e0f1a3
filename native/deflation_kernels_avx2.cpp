// The loops of deflation for AVX2 with FMA.
#ifdef NNLA_X86
#include "deflation_kernels_impl.hpp"

namespace nnla {

extern const DeflationKernels deflation_kernels_avx2;
constexpr DeflationKernels deflation_kernels_avx2 = deflation_table();

}  // namespace nnla
#endif
