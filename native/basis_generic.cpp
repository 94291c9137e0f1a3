// The kernels of a Lanczos basis for any processor.
#include "basis_impl.hpp"

namespace nnla {
namespace {

struct Generic {
    struct type {
        double x[2];
    };
    static constexpr int lanes = 2, rows4 = 2, rows2 = 4, rows1 = 8;
    static type zero() { return {{0, 0}}; }
    static type broadcast(double x) { return {{x, x}}; }
    static type load(const double* p) { return {{p[0], p[1]}}; }
    static void store(double* p, const type& x) {
        p[0] = x.x[0];
        p[1] = x.x[1];
    }
    static type add(const type& a, const type& b) { return {{a.x[0] + b.x[0], a.x[1] + b.x[1]}}; }
    static type fmadd(const type& a, const type& b, const type& c) {
        return {{c.x[0] + a.x[0] * b.x[0], c.x[1] + a.x[1] * b.x[1]}};
    }
    static type fnmadd(const type& a, const type& b, const type& c) {
        return {{c.x[0] - a.x[0] * b.x[0], c.x[1] - a.x[1] * b.x[1]}};
    }
};

}  // namespace

extern const BasisKernels basis_kernels_generic;
constexpr BasisKernels basis_kernels_generic = basis_table<Generic>();

}  // namespace nnla
