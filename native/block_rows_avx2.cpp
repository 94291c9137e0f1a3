// The block products for AVX2.
#if defined(NNLA_X86)
#include "block_rows_impl.hpp"

namespace nnla {

extern const BlockKernels block_kernels_avx2;
constexpr BlockKernels block_kernels_avx2 = block_kernels();

}  // namespace nnla
#endif
