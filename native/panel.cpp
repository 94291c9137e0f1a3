// The dense kernels for any processor, and the choice among them.
#include "panel.hpp"

#include "interruption.hpp"

#include "panel_solve_impl.hpp"
#include "steps.hpp"

namespace nnla {
namespace {

struct Generic {
    struct type {
        double x[4];
    };
    static constexpr int lanes = 4, rows = 1, columns = 4;
    static type zero() { return {{0, 0, 0, 0}}; }
    static type broadcast(double x) { return {{x, x, x, x}}; }
    static type load(const double* p) { return {{p[0], p[1], p[2], p[3]}}; }
    static type load_part(const double* p, int count) {
        type out = zero();
        for (int i = 0; i < count; ++i) out.x[i] = p[i];
        return out;
    }
    static void store(double* p, const type& x) {
        for (int i = 0; i < 4; ++i) p[i] = x.x[i];
    }
    static void store_part(double* p, const type& x, int count) {
        for (int i = 0; i < count; ++i) p[i] = x.x[i];
    }
    static double first(const type& x) { return x.x[0]; }
    static type add(const type& a, const type& b) {
        type out;
        for (int i = 0; i < 4; ++i) out.x[i] = a.x[i] + b.x[i];
        return out;
    }
    static type multiply(const type& a, const type& b) {
        type out;
        for (int i = 0; i < 4; ++i) out.x[i] = a.x[i] * b.x[i];
        return out;
    }
    static type subtract(const type& a, const type& b) {
        type out;
        for (int i = 0; i < 4; ++i) out.x[i] = a.x[i] - b.x[i];
        return out;
    }
    static type fmadd(const type& a, const type& b, const type& c) {
        type out;
        for (int i = 0; i < 4; ++i) out.x[i] = c.x[i] + a.x[i] * b.x[i];
        return out;
    }
    static type fnmadd(const type& a, const type& b, const type& c) {
        type out;
        for (int i = 0; i < 4; ++i) out.x[i] = c.x[i] - a.x[i] * b.x[i];
        return out;
    }
    static double total(const type& x) { return (x.x[0] + x.x[1]) + (x.x[2] + x.x[3]); }
};

}  // namespace

extern const PanelKernels panel_kernels_generic;
constexpr PanelKernels panel_kernels_generic = kernels_of<Generic>();

void tick_from_panel(std::int64_t operations) { tick(operations); }

const PanelKernels& panel_kernels() { return *isa().panel; }

}  // namespace nnla
