#include "steps.hpp"
#if defined(NNLA_X86)
#include "steps_impl.hpp"
#include "vectors_impl.hpp"

namespace nnla {

extern const BandKernels band_kernels_avx2;
extern const BasisKernels basis_kernels_avx2;
extern const BlockKernels block_kernels_avx2;
extern const DeflationKernels deflation_kernels_avx2;
extern const PanelKernels panel_kernels_avx2;

const InstructionSet& avx2_kernels() {
    static const InstructionSet set{"avx2", vector_table(), table<double>(), table<float>(), table<bfloat16>(),
                                    &panel_kernels_avx2, &basis_kernels_avx2, &block_kernels_avx2,
                                    &band_kernels_avx2, &deflation_kernels_avx2};
    return set;
}

}  // namespace nnla
#endif
