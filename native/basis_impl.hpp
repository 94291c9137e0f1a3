// The kernels of basis.hpp over a vector type V; included by one file for each instruction set. No templates of the
// standard library here: the linker could pick an instance of a foreign instruction set.
#pragma once
#include <cstdint>

#include "basis.hpp"

namespace nnla {
namespace {

using Long = std::int64_t;

// -- sums ------------------------------------------------------------------------------------------------

// R rows of V by C rows of W, in registers.
template <class V, int R, int C>
void dots_tile(const double* v, Long ldv, const double* w, Long ldw, Long columns, double* sums, Long step) {
    typename V::type x[R][C];
    for (int r = 0; r < R; ++r)
        for (int c = 0; c < C; ++c) x[r][c] = V::zero();
    const Long whole = columns / V::lanes * V::lanes;
    for (Long j = 0; j < whole; j += V::lanes) {
        typename V::type y[R];
        for (int r = 0; r < R; ++r) y[r] = V::load(v + r * ldv + j);
        for (int c = 0; c < C; ++c) {
            const typename V::type z = V::load(w + c * ldw + j);
            for (int r = 0; r < R; ++r) x[r][c] = V::fmadd(y[r], z, x[r][c]);
        }
    }
    for (int r = 0; r < R; ++r)
        for (int c = 0; c < C; ++c) {
            double* to = sums + r * step + c * V::lanes;
            V::store(to, V::add(V::load(to), x[r][c]));
            for (Long j = whole; j < columns; ++j) to[j - whole] += v[r * ldv + j] * w[c * ldw + j];
        }
}

template <class V, int R, int C>
void dots_rows(const double* v, Long ldv, Long m, const double* w, Long ldw, Long columns, double* sums, Long step) {
    Long r = 0;
    for (; r + R <= m; r += R) dots_tile<V, R, C>(v + r * ldv, ldv, w, ldw, columns, sums + r * step, step);
    if constexpr (R > 1) {
        if (r < m) dots_rows<V, R / 2, C>(v + r * ldv, ldv, m - r, w, ldw, columns, sums + r * step, step);
    }
}

template <class V>
void dots(const double* v, Long ldv, Long m, const double* w, Long ldw, int b, Long columns, double* sums) {
    const Long step = static_cast<Long>(b) * V::lanes;
    int c = 0;
    for (; c + 4 <= b; c += 4)
        dots_rows<V, V::rows4, 4>(v, ldv, m, w + c * ldw, ldw, columns, sums + c * V::lanes, step);
    if (b - c == 3) dots_rows<V, V::rows4, 3>(v, ldv, m, w + c * ldw, ldw, columns, sums + c * V::lanes, step);
    if (b - c == 2) dots_rows<V, V::rows2, 2>(v, ldv, m, w + c * ldw, ldw, columns, sums + c * V::lanes, step);
    if (b - c == 1) dots_rows<V, V::rows1, 1>(v, ldv, m, w + c * ldw, ldw, columns, sums + c * V::lanes, step);
}

// -- differences -----------------------------------------------------------------------------------------

// K rows of V from C rows of W, U vectors of columns at a time.
template <class V, int K, int C, int U>
Long subtract_tile(const double* v, Long ldv, const double* h, Long ldh, double* w, Long ldw, Long from, Long columns) {
    Long j = from;
    for (; j + U * V::lanes <= columns; j += U * V::lanes) {
        typename V::type x[C][U];
        for (int c = 0; c < C; ++c)
            for (int u = 0; u < U; ++u) x[c][u] = V::load(w + c * ldw + j + u * V::lanes);
        for (int k = 0; k < K; ++k) {
            typename V::type y[U];
            for (int u = 0; u < U; ++u) y[u] = V::load(v + k * ldv + j + u * V::lanes);
            for (int c = 0; c < C; ++c) {
                const typename V::type z = V::broadcast(h[k * ldh + c]);
                for (int u = 0; u < U; ++u) x[c][u] = V::fnmadd(y[u], z, x[c][u]);
            }
        }
        for (int c = 0; c < C; ++c)
            for (int u = 0; u < U; ++u) V::store(w + c * ldw + j + u * V::lanes, x[c][u]);
    }
    return j;
}

template <class V, int K, int C>
void subtract_rows(const double* v, Long ldv, Long m, const double* h, Long ldh, double* w, Long ldw, Long columns) {
    Long r = 0;
    for (; r + K <= m; r += K) {
        const double *rows = v + r * ldv, *part = h + r * ldh;
        Long j = subtract_tile<V, K, C, (C > 2 ? 2 : 4)>(rows, ldv, part, ldh, w, ldw, 0, columns);
        j = subtract_tile<V, K, C, 1>(rows, ldv, part, ldh, w, ldw, j, columns);
        for (; j < columns; ++j)
            for (int c = 0; c < C; ++c) {
                double x = w[c * ldw + j];
                for (int k = 0; k < K; ++k) x -= rows[k * ldv + j] * part[k * ldh + c];
                w[c * ldw + j] = x;
            }
    }
    if constexpr (K > 1) {
        if (r < m) subtract_rows<V, K / 2, C>(v + r * ldv, ldv, m - r, h + r * ldh, ldh, w, ldw, columns);
    }
}

template <class V>
void subtract(const double* v, Long ldv, Long m, const double* h, double* w, Long ldw, int b, Long columns) {
    int c = 0;
    for (; c + 4 <= b; c += 4) subtract_rows<V, 8, 4>(v, ldv, m, h + c, b, w + c * ldw, ldw, columns);
    if (b - c == 3) subtract_rows<V, 8, 3>(v, ldv, m, h + c, b, w + c * ldw, ldw, columns);
    if (b - c == 2) subtract_rows<V, 8, 2>(v, ldv, m, h + c, b, w + c * ldw, ldw, columns);
    if (b - c == 1) subtract_rows<V, 8, 1>(v, ldv, m, h + c, b, w + c * ldw, ldw, columns);
}

// -- combinations ----------------------------------------------------------------------------------------

constexpr int kVectors = 3;  // of columns of a tile

template <class V>
void combine(const double* v, Long ldv, Long m, const double* C, Long p, double* out, Long ldo, Long columns,
             double* work) {
    constexpr Long tile = kVectors * V::lanes;
    // the chunk in tiles, one behind the other: what is written may be what was read, and a tile's rows are not a
    // large power of two apart
    const Long tiles = (columns + tile - 1) / tile;
    for (Long r = 0; r < m; ++r)
        for (Long t = 0; t < tiles; ++t) {
            double* to = work + (t * m + r) * tile;
            const double* from = v + r * ldv + t * tile;
            const Long width = columns - t * tile < tile ? columns - t * tile : tile;
            if (width == tile) {
                for (int u = 0; u < kVectors; ++u) V::store(to + u * V::lanes, V::load(from + u * V::lanes));
            } else {
                for (Long j = 0; j < tile; ++j) to[j] = j < width ? from[j] : 0.0;
            }
        }
    for (Long t = 0; t < tiles; ++t) {
        const double* rows = work + t * m * tile;
        const Long width = columns - t * tile < tile ? columns - t * tile : tile;
        for (Long i = 0; i < p; i += 4) {
            typename V::type x[4][kVectors];
            for (int c = 0; c < 4; ++c)
                for (int u = 0; u < kVectors; ++u) x[c][u] = V::zero();
            const double* part = C + i * m;
            for (Long r = 0; r < m; ++r) {
                typename V::type y[kVectors];
                for (int u = 0; u < kVectors; ++u) y[u] = V::load(rows + r * tile + u * V::lanes);
                for (int c = 0; c < 4; ++c) {
                    const typename V::type z = V::broadcast(part[r * 4 + c]);
                    for (int u = 0; u < kVectors; ++u) x[c][u] = V::fmadd(y[u], z, x[c][u]);
                }
            }
            const int used = p - i < 4 ? static_cast<int>(p - i) : 4;
            alignas(64) double line[tile];
            for (int c = 0; c < used; ++c) {
                double* to = out + (i + c) * ldo + t * tile;
                if (width == tile) {
                    for (int u = 0; u < kVectors; ++u) V::store(to + u * V::lanes, x[c][u]);
                } else {
                    for (int u = 0; u < kVectors; ++u) V::store(line + u * V::lanes, x[c][u]);
                    for (Long j = 0; j < width; ++j) to[j] = line[j];
                }
            }
        }
    }
}

template <class V> constexpr BasisKernels basis_table() {
    return {V::lanes, kVectors * V::lanes, dots<V>, subtract<V>, combine<V>};
}

}  // namespace
}  // namespace nnla
