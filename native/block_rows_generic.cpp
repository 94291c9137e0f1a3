// The block products for any processor.
#include "block_rows_impl.hpp"

namespace nnla {

extern const BlockKernels block_kernels_generic;
constexpr BlockKernels block_kernels_generic = block_kernels();

}  // namespace nnla
