// The loops of deflation for any processor.
#include "deflation_kernels_impl.hpp"

namespace nnla {

extern const DeflationKernels deflation_kernels_generic;
constexpr DeflationKernels deflation_kernels_generic = deflation_table();

}  // namespace nnla
