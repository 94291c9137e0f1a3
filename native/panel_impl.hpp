// The dense kernels of factoring over a vector type V; included by one file for each instruction set. No templates of the
// standard library here: the linker could pick an instance of a foreign instruction set.
#pragma once
#include <cmath>
#include <cstdint>

#include "panel.hpp"

namespace nnla {
namespace {

using Long = std::int64_t;

inline Long least(Long a, Long b) { return a < b ? a : b; }

// Multiplications with their additions to a tick of about a nanosecond. Blocks of few are left to their callers to count.
constexpr Long kOperationsPerTick = 8, kFewOperations = 65536;

// R vectors of rows by C columns, in registers. `tail`: entries of the last vector; V::lanes if `full`.
template <class V, int R, int C> struct Tile {
    typename V::type x[R][C];

    // A B^T over k columns; row j of B is at b + j, its columns ldb apart.
    template <bool full> void product(const double* a, Long lda, const double* b, Long ldb, Long k, int tail) {
        for (int r = 0; r < R; ++r)
            for (int c = 0; c < C; ++c) x[r][c] = V::zero();
        for (Long p = 0; p < k; ++p, a += lda, b += ldb) {
            typename V::type column[R];
            for (int r = 0; r < R; ++r)
                column[r] = full || r < R - 1 ? V::load(a + r * V::lanes) : V::load_part(a + r * V::lanes, tail);
            for (int c = 0; c < C; ++c) {
                const typename V::type y = V::broadcast(b[c]);
                for (int r = 0; r < R; ++r) x[r][c] = V::fmadd(column[r], y, x[r][c]);
            }
        }
    }

    // x := what is at `from`, less x.
    template <bool full> void subtract_from(const double* from, Long ld, int tail) {
        for (int c = 0; c < C; ++c)
            for (int r = 0; r < R; ++r) {
                const double* p = from + c * ld + r * V::lanes;
                x[r][c] = V::subtract(full || r < R - 1 ? V::load(p) : V::load_part(p, tail), x[r][c]);
            }
    }

    template <bool full> void store(double* to, Long ld, int tail) const {
        for (int c = 0; c < C; ++c)
            for (int r = 0; r < R; ++r) {
                double* p = to + c * ld + r * V::lanes;
                if (full || r < R - 1) V::store(p, x[r][c]);
                else V::store_part(p, x[r][c], tail);
            }
    }

    // to := -x, or what is there less x.
    template <bool full> void take_away(double* to, Long ld, int tail, bool assign) const {
        for (int c = 0; c < C; ++c)
            for (int r = 0; r < R; ++r) {
                double* p = to + c * ld + r * V::lanes;
                if (full || r < R - 1) V::store(p, V::subtract(assign ? V::zero() : V::load(p), x[r][c]));
                else V::store_part(p, V::subtract(assign ? V::zero() : V::load_part(p, tail), x[r][c]), tail);
            }
    }
};

// -- factorisation ---------------------------------------------------------------------------------------

// Columns j ... j + C - 1 of the panel, from row j down, less what the columns from j0 to j contribute; then the
// triangle and the solution with it. Returns the failing column of the block or -1.
template <class V, int C> struct Block {
    // l[d][c] = L(j + c, j + d) D(j + d), c > d; what makes a column of L of the pivot's for c == d
    double l[C][C];

    template <bool full>
    int diagonal(double* corner, Long ld, const double* left, const double* top, Long ldt, Long before, int tail,
                 double* signs) {
        Tile<V, 1, C> t;
        t.template product<full>(left, ld, top, ldt, before, tail);
        t.template subtract_from<full>(corner, ld, tail);
        alignas(64) double column[V::lanes];
        for (int c = 0; c < C; ++c) {
            V::store(column, t.x[0][c]);
            const double pivot = column[c];
            double sign = 1;
            if (!(pivot > 0) || pivot > 1e308) {
                if (signs == nullptr || !(pivot < 0) || pivot < -1e308) return c;
                sign = -1;
            }
            const double inverse = sign / std::sqrt(sign * pivot);
            t.x[0][c] = V::multiply(t.x[0][c], V::broadcast(inverse));
            l[c][c] = inverse;
            if (signs != nullptr) signs[c] = sign;
            for (int d = c + 1; d < C; ++d) {
                l[c][d] = column[d] * inverse * sign;
                t.x[0][d] = V::fnmadd(t.x[0][c], V::broadcast(l[c][d]), t.x[0][d]);
            }
        }
        t.template store<full>(corner, ld, tail);
        for (int c = 0; c < C; ++c) corner[c + c * ld] = std::fabs(l[c][c]);
        return -1;
    }

    template <int R, bool full>
    void below(double* rows, Long ld, const double* left, const double* top, Long ldt, Long before, int tail) const {
        Tile<V, R, C> t;
        t.template product<full>(left, ld, top, ldt, before, tail);
        t.template subtract_from<full>(rows, ld, tail);
        for (int c = 0; c < C; ++c) {
            for (int d = 0; d < c; ++d) {
                const typename V::type y = V::broadcast(l[d][c]);
                for (int r = 0; r < R; ++r) t.x[r][c] = V::fnmadd(t.x[r][d], y, t.x[r][c]);
            }
            const typename V::type y = V::broadcast(l[c][c]);
            for (int r = 0; r < R; ++r) t.x[r][c] = V::multiply(t.x[r][c], y);
        }
        t.template store<full>(rows, ld, tail);
    }
};

template <class V, int C> int factor_block(double* panel, Long rows, Long j, Long j0, double* signs) {
    Block<V, C> block;
    double* corner = panel + j + j * rows;
    const double *left = panel + j + j0 * rows, *top = left;
    const Long before = j - j0, height = rows - j;
    Long ldt = rows;
    double flipped[C * kPanelColumns];  // rows j ... of L D
    if (signs != nullptr) {
        for (Long p = 0; p < before; ++p)
            for (int c = 0; c < C; ++c) flipped[p * C + c] = signs[j0 + p] * top[c + p * rows];
        top = flipped;
        ldt = C;
        signs += j;
    }
    const int failed =
        height >= V::lanes
            ? block.template diagonal<true>(corner, rows, left, top, ldt, before, V::lanes, signs)
            : block.template diagonal<false>(corner, rows, left, top, ldt, before, static_cast<int>(height), signs);
    if (failed >= 0) return failed;
    Long i = V::lanes;
    for (; i + V::rows * V::lanes <= height; i += V::rows * V::lanes)
        block.template below<V::rows, true>(corner + i, rows, left + i, top, ldt, before, V::lanes);
    for (; i + V::lanes <= height; i += V::lanes)
        block.template below<1, true>(corner + i, rows, left + i, top, ldt, before, V::lanes);
    if (i < height)
        block.template below<1, false>(corner + i, rows, left + i, top, ldt, before, static_cast<int>(height - i));
    return -1;
}

template <class V, int C>
int factor_columns(double* panel, Long rows, Long j, Long j0, int columns, double* signs) {
    if constexpr (C > 1) {
        if (columns < C) return factor_columns<V, C - 1>(panel, rows, j, j0, columns, signs);
    }
    return factor_block<V, C>(panel, rows, j, j0, signs);
}

// -- updates ---------------------------------------------------------------------------------------------

template <class V, int R, int C, bool full>
void update_tile(double* C_, Long ldc, const double* a, Long lda, const double* b, Long ldb, Long k, int tail,
                 bool assign, bool padded) {
    Tile<V, R, C> t;
    if (full || padded) t.template product<true>(a, lda, b, ldb, k, V::lanes);
    else t.template product<full>(a, lda, b, ldb, k, tail);
    t.template take_away<full>(C_, ldc, tail, assign);
}

template <class V, int R, int C>
void update_columns(double* C_, Long ldc, const double* a, Long lda, const double* b, Long ldb, Long k, int columns,
                    int tail, bool assign, bool padded) {
    if constexpr (C > 1) {
        if (columns < C) {
            update_columns<V, R, C - 1>(C_, ldc, a, lda, b, ldb, k, columns, tail, assign, padded);
            return;
        }
    }
    if (tail == V::lanes) update_tile<V, R, C, true>(C_, ldc, a, lda, b, ldb, k, tail, assign, padded);
    else update_tile<V, R, C, false>(C_, ldc, a, lda, b, ldb, k, tail, assign, padded);
}

template <class V>
void update_rows(double* C_, Long ldc, const double* a, Long lda, const double* b, Long ldb, Long k, int vectors,
                 int columns, int tail, bool assign, bool padded) {
    if (vectors == 1) update_columns<V, 1, V::columns>(C_, ldc, a, lda, b, ldb, k, columns, tail, assign, padded);
    else if (vectors == 2)
        update_columns<V, 2, V::columns>(C_, ldc, a, lda, b, ldb, k, columns, tail, assign, padded);
    else update_columns<V, 3, V::columns>(C_, ldc, a, lda, b, ldb, k, columns, tail, assign, padded);
}

// to[p][q] = signs[p] from[p][q]: `count` columns of `height` rows.
inline void flip(const double* from, Long ldf, double* to, Long ldt, Long height, Long count, const double* signs) {
    for (Long p = 0; p < count; ++p, from += ldf, to += ldt)
        for (Long q = 0; q < height; ++q) to[q] = signs[p] * from[q];
}

inline bool any_negative(const double* signs, Long count) {
    bool any = false;
    for (Long p = 0; p < count; ++p) any |= signs[p] < 0;
    return any;
}

// Strips of three vectors of rows; packed, where the panel is large, so that they are read in order. Where D has
// negative entries one of the two operands is A D: a strip of rows at a time, or the columns' side as a whole where
// nothing is packed. Without any, nothing differs from D = 1.
template <class V>
void update(double* C_, Long ldc, const double* a, Long lda, Long rows, Long cols, Long k, Long begin, Long end,
            bool assign, const double* signs, double* work) {
    constexpr Long strip = 3 * V::lanes, wide = V::columns, depth = 192;
    if (signs != nullptr && !any_negative(signs, k)) signs = nullptr;
    const bool pack = (k >= 24 && rows >= 3 * strip) || (signs != nullptr && k > depth);
    const bool counts = rows * cols * k > kFewOperations;
    const double* top = a;
    Long ldt = lda;
    if (signs != nullptr && !pack) {
        flip(a, lda, work, cols, cols, k, signs);
        top = work;
        ldt = cols;
    }
    double* flipped = work + (rows + strip - 1) / strip * strip * depth;
    for (Long p0 = 0; p0 < k; p0 += depth) {
        const Long deep = pack ? least(depth, k - p0) : k;
        if (pack) {
            double* to = work;
            for (Long i = 0; i < end; i += strip) {
                if (i >= cols && i < begin) {
                    to += strip * deep;
                    continue;
                }
                const Long height = least(strip, rows - i);
                for (Long p = 0; p < deep; ++p, to += strip) {
                    const double* from = a + i + (p0 + p) * lda;
                    Long q = 0;
                    for (; q < height; ++q) to[q] = from[q];
                    for (; q < strip; ++q) to[q] = 0;
                }
            }
        }
        const bool flips = pack && signs != nullptr && any_negative(signs + p0, deep);
        for (Long i = begin; i < end; i += strip) {
            const Long height = least(strip, rows - i);
            if (counts) tick_from_panel(height * least(cols, i + height) * deep / kOperationsPerTick);
            const double* left = pack ? work + (i / strip) * strip * deep : a + i;
            if (flips) {
                flip(left, strip, flipped, strip, strip, deep, signs + p0);
                left = flipped;
            }
            for (Long j = 0; j < least(cols, i + height); j += wide) {
                const Long from = j > i ? j - i : 0;  // the tile starts at the diagonal
                const Long lines = height - from;
                const int vectors = static_cast<int>((lines + V::lanes - 1) / V::lanes);
                const int tail = static_cast<int>(lines - (vectors - 1) * V::lanes);
                const int columns = static_cast<int>(least(wide, cols - j));
                double* tile = C_ + i + from + j * ldc;
                if (pack)
                    update_rows<V>(tile, ldc, left + from, strip, work + (j / strip) * strip * deep + j % strip, strip,
                                   deep, vectors, columns, tail, assign && p0 == 0, true);
                else
                    update_rows<V>(tile, ldc, left + from, lda, top + j, ldt, deep, vectors, columns, tail, assign,
                                   false);
            }
        }
        if (!pack) break;
    }
}

template <class V> int factor(double* panel, Long rows, Long j0, Long j1, double* signs) {
    const bool counts = rows * (j1 - j0) * (j1 - j0) > kFewOperations;
    for (Long j = j0; j < j1; j += V::columns) {
        const int columns = static_cast<int>(least(V::columns, j1 - j));
        if (counts) tick_from_panel((rows - j) * columns * (j - j0 + columns) / kOperationsPerTick);
        const int failed = factor_columns<V, V::columns>(panel, rows, j, j0, columns, signs);
        if (failed >= 0) return static_cast<int>(j) + failed;
    }
    return -1;
}

}  // namespace
}  // namespace nnla
