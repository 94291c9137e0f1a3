// The dense kernels for AVX2 with FMA.
#ifdef NNLA_X86
#include "panel_solve_impl.hpp"
#include "registers_avx2.hpp"

namespace nnla {
namespace {

struct Panel : Avx2 {
    static constexpr int rows = 3, columns = 4;
};

}  // namespace

extern const PanelKernels panel_kernels_avx2;
constexpr PanelKernels panel_kernels_avx2 = kernels_of<Panel>();

}  // namespace nnla
#endif
