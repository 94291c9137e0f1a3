#include "steps_impl.hpp"
#include "vectors_impl.hpp"

namespace nnla {

extern const BandKernels band_kernels_generic;
extern const BasisKernels basis_kernels_generic;
extern const BlockKernels block_kernels_generic;
extern const DeflationKernels deflation_kernels_generic;
extern const PanelKernels panel_kernels_generic;

const InstructionSet& generic_kernels() {
    static const InstructionSet set{"generic", vector_table(), table<double>(), table<float>(), table<bfloat16>(),
                                    &panel_kernels_generic, &basis_kernels_generic, &block_kernels_generic,
                                    &band_kernels_generic, &deflation_kernels_generic};
    return set;
}

}  // namespace nnla
