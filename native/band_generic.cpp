// Band factorisation for any processor.
#include "band_impl.hpp"

namespace nnla {
namespace {

struct Generic {
    struct type {
        double x[4];
    };
    template <class F> static type each(F f) { return {{f(0), f(1), f(2), f(3)}}; }
    static type zero() { return {{0, 0, 0, 0}}; }
    static type broadcast(double x) { return {{x, x, x, x}}; }
    static type load(const double* p) { return {{p[0], p[1], p[2], p[3]}}; }
    static void store(double* p, const type& x) {
        for (int i = 0; i < 4; ++i) p[i] = x.x[i];
    }
    static type multiply(const type& a, const type& b) {
        return each([&](int i) { return a.x[i] * b.x[i]; });
    }
    static type subtract(const type& a, const type& b) {
        return each([&](int i) { return a.x[i] - b.x[i]; });
    }
    static type fmadd(const type& a, const type& b, const type& c) {
        return each([&](int i) { return c.x[i] + a.x[i] * b.x[i]; });
    }
    static type fnmadd(const type& a, const type& b, const type& c) {
        return each([&](int i) { return c.x[i] - a.x[i] * b.x[i]; });
    }
    static double total(const type& x) { return (x.x[0] + x.x[1]) + (x.x[2] + x.x[3]); }
};

}  // namespace

extern const BandKernels band_kernels_generic;
constexpr BandKernels band_kernels_generic = band_table<Generic>();

}  // namespace nnla
