// The block products for AVX512.
#if defined(NNLA_X86)
#include "block_rows_impl.hpp"

namespace nnla {

extern const BlockKernels block_kernels_avx512;
constexpr BlockKernels block_kernels_avx512 = block_kernels();

}  // namespace nnla
#endif
