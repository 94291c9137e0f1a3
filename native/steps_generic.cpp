#include "steps_impl.hpp"
#include "vectors_impl.hpp"

namespace nnla {

const InstructionSet& generic_kernels() {
    static const InstructionSet set{"generic", vector_table(), table<double>(), table<float>(), table<bfloat16>()};
    return set;
}

}  // namespace nnla
