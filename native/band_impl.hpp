// The loops of a band factorisation; included by band_generic.cpp and band_avx2.cpp, whose registers R have 4 lanes.
#include <cmath>

#include "band.hpp"

namespace nnla {

void tick_from_panel(std::int64_t operations);

namespace {

template <class R> struct BandLoops {
    using V = typename R::type;
    using Int = std::int32_t;
    using Long = std::int64_t;

    template <class T> static T* block(const Skyline& s, T* values, Int i, Int j) {
        return values + s.start[j] + 16 * static_cast<Long>(i - j);
    }

    // The 4 x 4 lower triangle in place, reciprocals on the diagonal; the column that fails, or -1.
    static int factor_corner(double* d) {
        for (int j = 0; j < 4; ++j) {
            const double pivot = d[5 * j];
            if (!(pivot > 0) || !(pivot < HUGE_VAL)) return j;
            const double inverse = 1 / std::sqrt(pivot);
            d[5 * j] = inverse;
            for (int i = j + 1; i < 4; ++i) d[4 * j + i] *= inverse;
            for (int c = j + 1; c < 4; ++c)
                for (int i = c; i < 4; ++i) d[4 * c + i] -= d[4 * j + i] * d[4 * j + c];
        }
        return -1;
    }

    // N block rows from i on of block column c: what the columns from `begin` on leave of them.
    template <int N>
    static void take_away(const Skyline& s, const double* values, Int i, Int c, Int begin, V (&sum)[N][4]) {
        const Int* reach = s.reach;
        const double* column = values + s.start[begin];
        for (Int j = begin; j < c; ++j) {
            const double *rows = column + 16L * (i - j), *across = column + 16L * (c - j);
            column += 16L * (reach[j] - j + 1);
            for (int t = 0; t < 4; ++t) {
                V left[N];
                for (int a = 0; a < N; ++a) left[a] = R::load(rows + 16 * a + 4 * t);
                for (int k = 0; k < 4; ++k) {
                    const V factor = R::broadcast(across[4 * t + k]);
                    for (int a = 0; a < N; ++a) sum[a][k] = R::fnmadd(left[a], factor, sum[a][k]);
                }
            }
        }
    }

    // N block rows of a column: what earlier columns leave, times the inverse of the corner.
    template <int N> static void rows_below(const Skyline& s, double* values, Int i, Int c, const double* corner) {
        V sum[N][4];
        for (int a = 0; a < N; ++a)
            for (int k = 0; k < 4; ++k) sum[a][k] = R::load(block(s, values, i + a, c) + 4 * k);
        const Int all = s.first[i + N - 1];  // from here on a column reaches all N
        for (int a = 0; a + 1 < N; ++a) {
            V alone[1][4] = {{sum[a][0], sum[a][1], sum[a][2], sum[a][3]}};
            if (s.first[i + a] < all) take_away_until<1>(s, values, i + a, c, s.first[i + a], all, alone);
            for (int k = 0; k < 4; ++k) sum[a][k] = alone[0][k];
        }
        take_away<N>(s, values, i, c, all, sum);
        for (int k = 0; k < 4; ++k) {
            const V inverse = R::broadcast(corner[5 * k]);
            for (int a = 0; a < N; ++a) sum[a][k] = R::multiply(sum[a][k], inverse);
            for (int l = k + 1; l < 4; ++l) {
                const V factor = R::broadcast(corner[4 * k + l]);
                for (int a = 0; a < N; ++a) sum[a][l] = R::fnmadd(sum[a][k], factor, sum[a][l]);
            }
        }
        for (int a = 0; a < N; ++a)
            for (int k = 0; k < 4; ++k) R::store(block(s, values, i + a, c) + 4 * k, sum[a][k]);
    }

    // The same for the columns `begin` ... `end` - 1 only.
    template <int N>
    static void take_away_until(const Skyline& s, const double* values, Int i, Int c, Int begin, Int end,
                                V (&sum)[N][4]) {
        for (Int j = begin; j < end; ++j) {
            const double *rows = block(s, values, i, j), *across = block(s, values, c, j);
            for (int t = 0; t < 4; ++t)
                for (int k = 0; k < 4; ++k)
                    for (int a = 0; a < N; ++a)
                        sum[a][k] = R::fnmadd(R::load(rows + 16 * a + 4 * t), R::broadcast(across[4 * t + k]), sum[a][k]);
        }
    }

    static Long factor(const Skyline& s, double* values) {
        for (Int c = 0; c < s.blocks; ++c) {
            double* corner = block(s, values, c, c);
            const Int height = s.reach[c] - c + 1;
            tick_from_panel(8L * height * (c - s.first[c] + 2));
            V sum[1][4];
            for (int k = 0; k < 4; ++k) sum[0][k] = R::load(corner + 4 * k);
            take_away<1>(s, values, c, c, s.first[c], sum);
            for (int k = 0; k < 4; ++k) R::store(corner + 4 * k, sum[0][k]);
            const int failed = factor_corner(corner);
            if (failed >= 0) return 4L * c + failed;
            Int i = c + 1;
            for (; i + 1 <= s.reach[c]; i += 2) rows_below<2>(s, values, i, c, corner);
            if (i <= s.reach[c]) rows_below<1>(s, values, i, c, corner);
        }
        return -1;
    }

    static void solve(const Skyline& s, const double* values, double* x) {
        for (Int c = 0; c < s.blocks; ++c) {
            const double* corner = block(s, values, c, c);
            double* y = x + 4 * static_cast<Long>(c);
            const Int height = s.reach[c] - c;
            tick_from_panel(8L * height + 16);
            for (int k = 0; k < 4; ++k) {
                y[k] *= corner[5 * k];
                for (int l = k + 1; l < 4; ++l) y[l] -= corner[4 * k + l] * y[k];
            }
            const V y0 = R::broadcast(y[0]), y1 = R::broadcast(y[1]), y2 = R::broadcast(y[2]), y3 = R::broadcast(y[3]);
            for (Int i = 1; i <= height; ++i) {
                const double* block = corner + 16L * i;
                V a = R::fnmadd(R::load(block), y0, R::load(y + 4 * i)), b = R::multiply(R::load(block + 4), y1);
                a = R::fnmadd(R::load(block + 8), y2, a);
                b = R::fmadd(R::load(block + 12), y3, b);
                R::store(y + 4 * i, R::subtract(a, b));
            }
        }
        for (Int c = s.blocks - 1; c >= 0; --c) {
            const double* corner = block(s, values, c, c);
            double* y = x + 4 * static_cast<Long>(c);
            const Int height = s.reach[c] - c;
            tick_from_panel(8L * height + 16);
            V sum[4] = {R::zero(), R::zero(), R::zero(), R::zero()};
            for (Int i = 1; i <= height; ++i) {
                const V part = R::load(y + 4 * i);
                for (int k = 0; k < 4; ++k) sum[k] = R::fmadd(R::load(corner + 16L * i + 4 * k), part, sum[k]);
            }
            for (int k = 3; k >= 0; --k) {
                double left = y[k] - R::total(sum[k]);
                for (int l = k + 1; l < 4; ++l) left -= corner[4 * k + l] * y[l];
                y[k] = left * corner[5 * k];
            }
        }
    }
};

template <class R> constexpr BandKernels band_table() { return {&BandLoops<R>::factor, &BandLoops<R>::solve}; }

}  // namespace
}  // namespace nnla
