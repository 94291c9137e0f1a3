// The loops of deflation for AVX-512.
#ifdef NNLA_X86
#include "deflation_kernels_impl.hpp"

namespace nnla {

extern const DeflationKernels deflation_kernels_avx512;
constexpr DeflationKernels deflation_kernels_avx512 = deflation_table();

}  // namespace nnla
#endif
