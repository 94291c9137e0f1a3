// Solution with a Cholesky factor, for one right-hand side or a block of them at a time.
#include <algorithm>

#include "cholesky.hpp"
#include "interruption.hpp"
#include "panel.hpp"
#include "prefetch.hpp"
#include "threads.hpp"

namespace nnla {
namespace {

using Int = std::int32_t;
using Long = std::int64_t;

constexpr Long kAhead = 2048;  // entries of the next panel to fetch while this one is worked on
constexpr double kParallelSolve = 1e6;  // entries of L times columns from which threads pay for being woken

template <int W> void copy_row(const double* from, double* to) {
    for (int c = 0; c < W; ++c) to[c] = from[c];
}

// X = A^-1 B for `live` columns of row-major blocks whose rows are `stride` apart, W >= live of them at a time: the
// factor is read once for all. work: (n + longest) * W numbers.
template <int W>
void solve_columns(const Symbolic& s, const Cholesky::Factor& factor, double* work, const double* b, double* x,
                   Long stride, int live) {
    const PanelKernels& kernels = panel_kernels();
    const double* panels = factor.panels.data();
    double *y = work, *t = y + static_cast<Long>(s.n) * W;
    Ticker ticker;
    for (Int i = 0; i < s.n; ++i) {
        const double* from = b + s.order[i] * stride;
        double* to = y + static_cast<Long>(i) * W;
        if (live == W) copy_row<W>(from, to);
        else
            for (int c = 0; c < W; ++c) to[c] = c < live ? from[c] : 0.0;
    }
    ticker(4 * static_cast<Long>(s.n));
    for (Int node = 0; node < s.nodes(); ++node) {
        const Int k = s.width(node), m = s.below(node);
        const Int* rows = s.rows.data() + s.row_start[node];
        double *top = y + static_cast<Long>(s.first[node]) * W, *rest = t + static_cast<Long>(k) * W;
        ticker((static_cast<Long>(k) / 4 + 2) * (k + m) * ((W + 3) / 4));
        std::copy(top, top + static_cast<Long>(k) * W, t);
        for (Int i = 0; i < m; ++i) copy_row<W>(y + static_cast<Long>(rows[i]) * W, rest + static_cast<Long>(i) * W);
        const double* next = panels + s.panel[node + 1];
        const Long ahead = node + 1 < s.nodes() ? std::min(s.panel[node + 2] - s.panel[node + 1], kAhead) : 0;
        for (Long i = 0; i < ahead; i += 8) NNLA_PREFETCH(next + i);
        if constexpr (W == 1) kernels.forward(panels + s.panel[node], k + m, k, t);
        else kernels.forward_block(panels + s.panel[node], k + m, k, W, t);
        std::copy(t, rest, top);
        for (Int i = 0; i < m; ++i) copy_row<W>(rest + static_cast<Long>(i) * W, y + static_cast<Long>(rows[i]) * W);
    }
    for (std::size_t i = 0; i < factor.signs.size(); ++i)
        for (int c = 0; c < W; ++c) y[i * W + c] *= factor.signs[i];
    for (Int node = s.nodes() - 1; node >= 0; --node) {
        const Int k = s.width(node), m = s.below(node);
        const Int* rows = s.rows.data() + s.row_start[node];
        double *top = y + static_cast<Long>(s.first[node]) * W, *rest = t + static_cast<Long>(k) * W;
        ticker((static_cast<Long>(k) / 4 + 2) * (k + m) * ((W + 3) / 4));
        std::copy(top, top + static_cast<Long>(k) * W, t);
        for (Int i = 0; i < m; ++i) copy_row<W>(y + static_cast<Long>(rows[i]) * W, rest + static_cast<Long>(i) * W);
        const double* next = panels + s.panel[std::max(node - 1, 0)];
        const Long ahead = node > 0 ? std::min(s.panel[node] - s.panel[node - 1], kAhead) : 0;
        for (Long i = 0; i < ahead; i += 8) NNLA_PREFETCH(next + i);
        if constexpr (W == 1) kernels.backward(panels + s.panel[node], k + m, k, t);
        else kernels.backward_block(panels + s.panel[node], k + m, k, W, t);
        std::copy(t, rest, top);
    }
    for (Int i = 0; i < s.n; ++i) {
        const double* from = y + static_cast<Long>(i) * W;
        double* to = x + s.order[i] * stride;
        for (int c = 0; c < live; ++c) to[c] = from[c];
    }
    ticker(4 * static_cast<Long>(s.n));
}

// Columns that are solved together where `count` are left: more than a half of a block pay for the whole of it.
int block_width(Long count) {
    const int lanes = panel_kernels().lanes;
    if (count <= 1) return 1;
    return count <= lanes ? lanes : kBlockColumns;
}

}  // namespace

void Cholesky::solve(const Factor& factor, const double* b, double* x, double* work) const {
    solve_columns<1>(symbolic_, factor, work, b, x, 1, 1);
}

void Cholesky::solve(const Factor& factor, const double* b, double* x, Long count) const {
    const bool shared = nnz_ * static_cast<double>(count) > kParallelSolve;
    const Long threads = shared ? std::min<Long>(count, max_threads()) : 1;
    // Blocks as wide as leaves each thread one. Which columns go together changes nothing in them.
    const Long width = std::min<Long>(kBlockColumns, (count + threads - 1) / threads);
    const Long blocks = (count + width - 1) / width;
    const int parts = static_cast<int>(std::min<Long>(threads, blocks));
    const Long size = (static_cast<Long>(a_.n) + symbolic_.longest) * block_width(width);
    Array<double> work(size * parts);
    parallel(parts, [&](int part) {
        double* mine = work.data() + part * size;
        for (Long block = part; block < blocks; block += parts) {
            const Long j = block * width;
            const int live = static_cast<int>(std::min(width, count - j)), wide = block_width(live);
            if (wide == 1) solve_columns<1>(symbolic_, factor, mine, b + j, x + j, count, live);
            else if (wide == 4) solve_columns<4>(symbolic_, factor, mine, b + j, x + j, count, live);
            else solve_columns<8>(symbolic_, factor, mine, b + j, x + j, count, live);
        }
    });
}

}  // namespace nnla
