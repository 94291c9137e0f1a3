#include "steps.hpp"
#if defined(NNLA_X86)
#include "steps_impl.hpp"
#include "vectors_impl.hpp"

namespace nnla {

extern const BandKernels band_kernels_avx2;  // four lanes are as many as its blocks have
extern const BasisKernels basis_kernels_avx512;
extern const BlockKernels block_kernels_avx512;
extern const DeflationKernels deflation_kernels_avx512;
extern const PanelKernels panel_kernels_avx512;

const InstructionSet& avx512_kernels() {
    static const InstructionSet set{"avx512", vector_table(), table<double>(), table<float>(), table<bfloat16>(),
                                    &panel_kernels_avx512, &basis_kernels_avx512, &block_kernels_avx512,
                                    &band_kernels_avx2, &deflation_kernels_avx512};
    return set;
}

}  // namespace nnla
#endif
