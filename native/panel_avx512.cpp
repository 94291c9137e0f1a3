// The dense kernels for AVX-512.
#ifdef NNLA_X86
#include "panel_solve_impl.hpp"
#include "registers_avx512.hpp"

namespace nnla {
namespace {

struct Panel : Avx512 {
    static constexpr int rows = 3, columns = 8;
};

}  // namespace

extern const PanelKernels panel_kernels_avx512;
constexpr PanelKernels panel_kernels_avx512 = kernels_of<Panel>();

}  // namespace nnla
#endif
