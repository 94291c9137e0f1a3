// Seconds that factorisations take on the machine of the constants: what is compared is of one machine. The last table of
// benchmarks/small_systems.py says by how much they are off.
#pragma once
#include <cstdint>

#include "band.hpp"

namespace nnla {

constexpr double kWideBand = 3;   // a band is taken as it is up to so many times what narrowing it takes
constexpr double kBandDoubt = 2;  // and is preferred to an order not yet known up to so many times what that takes

inline double order_seconds(std::int64_t nnz) { return 2e-6 + 4e-8 * static_cast<double>(nnz); }
inline double factor_seconds(std::int32_t n, double flops, double entries) {
    return 2e-6 + 6e-8 * n + 3e-9 * entries + 1.5e-10 * flops;
}
inline double narrow_seconds(std::int64_t nnz) { return 1e-6 + 1.2e-8 * static_cast<double>(nnz); }
inline double band_seconds(const BandCholesky& band) {
    return 5e-7 + 5e-8 * band.blocks() + 1.4e-9 * band.stored() + 3.6e-9 * band.products();
}

}  // namespace nnla
