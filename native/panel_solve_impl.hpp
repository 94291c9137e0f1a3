// The dense kernels of solving over a vector type V; see panel_impl.hpp.
//
// A column of a block takes the very operations, in their order, that it takes alone: the triangles are solved in
// vectors either way, and the sums of backward() over the rows are kept apart by lanes. Its result is the same.
#pragma once
#include "panel_impl.hpp"

namespace nnla {
namespace {

// The sum of L numbers, neighbours first; V::total is the same one of the entries of a vector.
template <class V, int L> inline typename V::type tree(const typename V::type* x) {
    if constexpr (L == 1) return x[0];
    else return V::add(tree<V, L / 2>(x), tree<V, L / 2>(x + L / 2));
}

// -- one right-hand side ---------------------------------------------------------------------------------

template <class V, int C> void forward_columns(const double* corner, Long ld, Long height, double* t) {
    typename V::type x[C];  // an entry of the solution in all lanes
    for (int c = 0; c < C; ++c) {
        typename V::type value = V::broadcast(t[c]);
        for (int d = 0; d < c; ++d) value = V::fnmadd(V::broadcast(corner[c + d * ld]), x[d], value);
        x[c] = V::multiply(value, V::broadcast(corner[c + c * ld]));
        t[c] = V::first(x[c]);
    }
    Long i = C;
    for (; i + V::lanes <= height; i += V::lanes) {
        typename V::type sum = V::load(t + i);
        for (int c = 0; c < C; ++c) sum = V::fnmadd(V::load(corner + i + c * ld), x[c], sum);
        V::store(t + i, sum);
    }
    if (i < height) {
        const int tail = static_cast<int>(height - i);
        typename V::type sum = V::load_part(t + i, tail);
        for (int c = 0; c < C; ++c) sum = V::fnmadd(V::load_part(corner + i + c * ld, tail), x[c], sum);
        V::store_part(t + i, sum, tail);
    }
}

template <class V, int C> void backward_columns(const double* corner, Long ld, Long height, double* t) {
    typename V::type sum[C];
    for (int c = 0; c < C; ++c) sum[c] = V::zero();
    Long i = C;
    for (; i + V::lanes <= height; i += V::lanes) {
        const typename V::type y = V::load(t + i);
        for (int c = 0; c < C; ++c) sum[c] = V::fnmadd(V::load(corner + i + c * ld), y, sum[c]);
    }
    if (i < height) {
        const int tail = static_cast<int>(height - i);
        const typename V::type y = V::load_part(t + i, tail);
        for (int c = 0; c < C; ++c) sum[c] = V::fnmadd(V::load_part(corner + i + c * ld, tail), y, sum[c]);
    }
    typename V::type x[C];
    for (int c = C - 1; c >= 0; --c) {
        typename V::type value = V::add(V::broadcast(t[c]), V::broadcast(V::total(sum[c])));
        for (int d = c + 1; d < C; ++d) value = V::fnmadd(V::broadcast(corner[d + c * ld]), x[d], value);
        x[c] = V::multiply(value, V::broadcast(corner[c + c * ld]));
        t[c] = V::first(x[c]);
    }
}

template <class V> void forward(const double* panel, Long rows, Long k, double* t) {
    Long j = 0;
    for (; j + 4 <= k; j += 4) forward_columns<V, 4>(panel + j + j * rows, rows, rows - j, t + j);
    const double* corner = panel + j + j * rows;
    if (k - j == 3) forward_columns<V, 3>(corner, rows, rows - j, t + j);
    else if (k - j == 2) forward_columns<V, 2>(corner, rows, rows - j, t + j);
    else if (k - j == 1) forward_columns<V, 1>(corner, rows, rows - j, t + j);
}

template <class V> void backward(const double* panel, Long rows, Long k, double* t) {
    Long j = k - k % 4;
    const double* corner = panel + j + j * rows;
    if (k - j == 3) backward_columns<V, 3>(corner, rows, rows - j, t + j);
    else if (k - j == 2) backward_columns<V, 2>(corner, rows, rows - j, t + j);
    else if (k - j == 1) backward_columns<V, 1>(corner, rows, rows - j, t + j);
    for (j -= 4; j >= 0; j -= 4) backward_columns<V, 4>(panel + j + j * rows, rows, rows - j, t + j);
}

// -- blocks of right-hand sides: N vectors to a row ---------------------------------------------------------

template <class V, int N, int C> void forward_rows(const double* corner, Long ld, Long height, double* t) {
    constexpr Long width = N * V::lanes;
    typename V::type x[C][N];
    for (int c = 0; c < C; ++c)
        for (int v = 0; v < N; ++v) {
            typename V::type value = V::load(t + c * width + v * V::lanes);
            for (int d = 0; d < c; ++d) value = V::fnmadd(V::broadcast(corner[c + d * ld]), x[d][v], value);
            x[c][v] = V::multiply(value, V::broadcast(corner[c + c * ld]));
            V::store(t + c * width + v * V::lanes, x[c][v]);
        }
    t += C * width;
    for (Long i = C; i < height; ++i, t += width) {
        typename V::type sum[N];
        for (int v = 0; v < N; ++v) sum[v] = V::load(t + v * V::lanes);
        for (int c = 0; c < C; ++c) {
            const typename V::type l = V::broadcast(corner[i + c * ld]);
            for (int v = 0; v < N; ++v) sum[v] = V::fnmadd(l, x[c][v], sum[v]);
        }
        for (int v = 0; v < N; ++v) V::store(t + v * V::lanes, sum[v]);
    }
}

// What the rows below the triangle contribute to P of its rows, summed as one right-hand side is.
template <class V, int N, int C, int P>
void row_sums(const double* below, Long ld, Long count, const double* t, typename V::type (*total)[N]) {
    constexpr Long width = N * V::lanes;
    typename V::type sum[P][N][V::lanes];
    for (int p = 0; p < P; ++p)
        for (int v = 0; v < N; ++v)
            for (int l = 0; l < V::lanes; ++l) sum[p][v][l] = V::zero();
    Long i = 0;
    for (; i + V::lanes <= count; i += V::lanes)
        for (int l = 0; l < V::lanes; ++l)
            for (int v = 0; v < N; ++v) {
                const typename V::type y = V::load(t + (i + l) * width + v * V::lanes);
                for (int p = 0; p < P; ++p)
                    sum[p][v][l] = V::fnmadd(V::broadcast(below[i + l + p * ld]), y, sum[p][v][l]);
            }
    for (int l = 0; l < V::lanes - 1; ++l)  // the lanes are named: they stay in registers
        if (i + l < count)
            for (int v = 0; v < N; ++v) {
                const typename V::type y = V::load(t + (i + l) * width + v * V::lanes);
                for (int p = 0; p < P; ++p)
                    sum[p][v][l] = V::fnmadd(V::broadcast(below[i + l + p * ld]), y, sum[p][v][l]);
            }
    for (int p = 0; p < P; ++p)
        for (int v = 0; v < N; ++v) total[p][v] = tree<V, V::lanes>(sum[p][v]);
}

template <class V, int N, int C> void backward_rows(const double* corner, Long ld, Long height, double* t) {
    constexpr Long width = N * V::lanes;
    constexpr int P = C > 1 && N == 1 ? 2 : 1;  // as many sums as there are registers for
    typename V::type total[C][N];
    int c = 0;
    for (; c + P <= C; c += P) row_sums<V, N, C, P>(corner + C + c * ld, ld, height - C, t + C * width, total + c);
    if (c < C) row_sums<V, N, C, 1>(corner + C + c * ld, ld, height - C, t + C * width, total + c);
    typename V::type x[C][N];
    for (c = C - 1; c >= 0; --c)
        for (int v = 0; v < N; ++v) {
            typename V::type value = V::add(V::load(t + c * width + v * V::lanes), total[c][v]);
            for (int d = c + 1; d < C; ++d) value = V::fnmadd(V::broadcast(corner[d + c * ld]), x[d][v], value);
            x[c][v] = V::multiply(value, V::broadcast(corner[c + c * ld]));
            V::store(t + c * width + v * V::lanes, x[c][v]);
        }
}

template <class V, int N> void forward_vectors(const double* panel, Long rows, Long k, double* t) {
    constexpr Long width = N * V::lanes;
    Long j = 0;
    for (; j + 4 <= k; j += 4) forward_rows<V, N, 4>(panel + j + j * rows, rows, rows - j, t + j * width);
    const double* corner = panel + j + j * rows;
    if (k - j == 3) forward_rows<V, N, 3>(corner, rows, rows - j, t + j * width);
    else if (k - j == 2) forward_rows<V, N, 2>(corner, rows, rows - j, t + j * width);
    else if (k - j == 1) forward_rows<V, N, 1>(corner, rows, rows - j, t + j * width);
}

template <class V, int N> void backward_vectors(const double* panel, Long rows, Long k, double* t) {
    constexpr Long width = N * V::lanes;
    Long j = k - k % 4;
    const double* corner = panel + j + j * rows;
    if (k - j == 3) backward_rows<V, N, 3>(corner, rows, rows - j, t + j * width);
    else if (k - j == 2) backward_rows<V, N, 2>(corner, rows, rows - j, t + j * width);
    else if (k - j == 1) backward_rows<V, N, 1>(corner, rows, rows - j, t + j * width);
    for (j -= 4; j >= 0; j -= 4) backward_rows<V, N, 4>(panel + j + j * rows, rows, rows - j, t + j * width);
}

template <class V> void forward_block(const double* panel, Long rows, Long k, int columns, double* t) {
    if (columns == V::lanes) forward_vectors<V, 1>(panel, rows, k, t);
    else forward_vectors<V, kBlockColumns / V::lanes>(panel, rows, k, t);
}

template <class V> void backward_block(const double* panel, Long rows, Long k, int columns, double* t) {
    if (columns == V::lanes) backward_vectors<V, 1>(panel, rows, k, t);
    else backward_vectors<V, kBlockColumns / V::lanes>(panel, rows, k, t);
}

template <class V> constexpr PanelKernels kernels_of() {
    return PanelKernels{factor<V>,         update<V>,    forward<V>, backward<V>, forward_block<V>,
                        backward_block<V>, 3 * V::lanes, V::lanes};
}

}  // namespace
}  // namespace nnla
