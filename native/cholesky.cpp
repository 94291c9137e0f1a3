#include "cholesky.hpp"

#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstring>
#include <memory>
#include <mutex>
#include <stdexcept>

#include "interruption.hpp"
#include "panel.hpp"
#include "threads.hpp"

namespace nnla {
namespace {

using Int = std::int32_t;
using Long = std::int64_t;

constexpr Int kOuter = static_cast<Int>(kPanelColumns);
constexpr double kParallel = 2e7;     // operations from which threads pay for being woken
constexpr double kParallelFront = 4e6;

// The work on one front after the other, and what they leave for their parents.
class Fronts {
  public:
    Fronts(const Pattern& a, const Symbolic& s, const double* data, double* panels, double* signs, const Long need[2],
           int threads)
        : a_(a), s_(s), data_(data), panels_(panels), signs_(signs), threads_(threads), local_(s.n), map_(s.longest),
          kernels_(panel_kernels()), work_(panel_work(s.longest) * threads),
          stack_{Array<double>(need[0]), Array<double>(need[1])} {}

    // -1, or the column whose pivot is not positive.
    Long front(Int node) {
        const Int first = s_.first[node], k = s_.width(node), m = s_.below(node), r = k + m;
        double* panel = panels_ + s_.panel[node];
        tick(static_cast<Long>(r) * k + 8 * r + std::min<Long>(static_cast<Long>(r) * r * k / 8, 8192));
        std::memset(panel, 0, sizeof(double) * r * k);
        const Int* rows = s_.rows.data() + s_.row_start[node];
        for (Int t = 0; t < k; ++t) local_[first + t] = t;
        for (Int t = 0; t < m; ++t) local_[rows[t]] = k + t;
        for (Int j = 0; j < k; ++j) {
            const Int old = s_.order[first + j];
            double* column = panel + static_cast<Long>(j) * r;
            for (Int p = a_.indptr[old]; p < a_.indptr[old + 1]; ++p) {
                const Int i = s_.inverse[a_.indices[p]];
                if (i >= first + j) column[local_[i]] = data_[p];
            }
        }
        const int mine = s_.odd[node], theirs = 1 - mine;
        double* update = stack_[mine].data() + used_[mine];
        const std::size_t children = s_.child_count[node];
        if (children > 0) {
            for (Int j = 0; j < m; ++j) std::memset(update + static_cast<Long>(j) * m + j, 0, sizeof(double) * (m - j));
            std::vector<Left>& waiting = waiting_[theirs];
            for (std::size_t c = waiting.size() - children; c < waiting.size(); ++c) {
                add(waiting[c].node, waiting[c].update, panel, r, k, update, m);
                if (waiting[c].on_stack) used_[theirs] -= square(waiting[c].node);
            }
            waiting.resize(waiting.size() - children);
        }
        for (Int j = 0; j < k; j += kOuter) {
            const Int next = std::min(k, j + kOuter);
            double* signs = signs_ == nullptr ? nullptr : signs_ + first;
            const int failed = kernels_.factor(panel, r, j, next, signs);
            if (failed >= 0) return first + failed;
            if (next < k)
                take_away(panel + next + static_cast<Long>(next) * r, r, panel + next + static_cast<Long>(j) * r, r,
                          r - next, k - next, next - j, false, signs == nullptr ? nullptr : signs + j);
        }
        if (m > 0)
            take_away(update, m, panel + k, r, m, m, k, children == 0, signs_ == nullptr ? nullptr : signs_ + first);
        used_[mine] += square(node);
        if (s_.parent[node] >= 0) waiting_[mine].push_back({node, update, true});
        return -1;
    }

    // What a node left that was not worked on here.
    void receive(Int node, const double* update) { waiting_[s_.odd[node]].push_back({node, update, false}); }

    // What the last node left, for another one to receive.
    void give(Int node, Array<double>& update) {
        if (update.size() > 0) std::memcpy(update.data(), stack_[s_.odd[node]].data(), update.bytes());
        forget();
    }

    void forget() {
        for (int side = 0; side < 2; ++side) {
            used_[side] = 0;
            waiting_[side].clear();
        }
    }

  private:
    struct Left {
        Int node;
        const double* update;
        bool on_stack;
    };

    Long square(Int node) const { return static_cast<Long>(s_.below(node)) * s_.below(node); }

    // The update that a child left is part of this front.
    void add(Int child, const double* from, double* panel, Int r, Int k, double* update, Int m) {
        const Int count = s_.below(child);
        const Int* rows = s_.rows.data() + s_.row_start[child];
        Int* map = map_.data();
        for (Int t = 0; t < count; ++t) map[t] = local_[rows[t]];
        for (Int j = 0; j < count; ++j, from += count) {
            const Int column = map[j];
            ticker_(count - j);
            double* to = column < k ? panel + static_cast<Long>(column) * r
                                    : update + static_cast<Long>(column - k) * m - k;
            for (Int t = j; t < count; ++t) to[map[t]] += from[t];
        }
    }

    // C -= A D A^T, D = 1 without signs.
    void take_away(double* C, Long ldc, const double* A, Long lda, Long rows, Long columns, Long k, bool assign,
                   const double* signs) {
        const double operations = static_cast<double>(rows) * static_cast<double>(columns) * static_cast<double>(k);
        if (threads_ == 1 || operations < kParallelFront) {
            kernels_.update(C, ldc, A, lda, rows, columns, k, 0, rows, assign, signs, work_.data());
            return;
        }
        // Strips of about the same work; one workspace each.
        const Long strip = kernels_.strip, strips = (rows + strip - 1) / strip;
        std::vector<Long> bounds(threads_ + 1, rows);
        bounds[0] = 0;
        double done = 0;
        const auto work_of = [&](Long i) { return static_cast<double>(std::min(columns, (i + 1) * strip)); };
        double total = 0;
        for (Long i = 0; i < strips; ++i) total += work_of(i);
        int part = 1;
        for (Long i = 0; i < strips && part < threads_; ++i) {
            done += work_of(i);
            if (done >= total * part / threads_) bounds[part++] = std::min(rows, (i + 1) * strip);
        }
        const Long share = panel_work(s_.longest);
        parallel(threads_, [&](int t) {
            if (bounds[t] < bounds[t + 1])
                kernels_.update(C, ldc, A, lda, rows, columns, k, bounds[t], bounds[t + 1], assign, signs,
                                work_.data() + t * share);
        });
    }

    const Pattern& a_;
    const Symbolic& s_;
    const double* data_;
    double *panels_, *signs_;
    int threads_;
    std::vector<Int> local_, map_;
    std::vector<Left> waiting_[2];
    const PanelKernels& kernels_;
    Array<double> work_, stack_[2];
    Long used_[2] = {0, 0};
    Ticker ticker_;
};

// Subtrees that threads work on by themselves, largest first.
struct Subtree {
    Int begin, root;
    double work;
};

std::vector<Subtree> choose_subtrees(const Symbolic& s, int threads) {
    const Int nodes = s.nodes();
    std::vector<Int> begin(nodes);
    std::vector<double> work(nodes);
    double total = 0;
    for (Int i = 0; i < nodes; ++i) begin[i] = i;
    for (Int i = 0; i < nodes; ++i) {
        const double k = s.width(i), r = k + s.below(i);
        work[i] += k * r * r + 8 * r * r + 2000;
        total += k * r * r + 8 * r * r + 2000;
        if (s.parent[i] < 0) continue;
        work[s.parent[i]] += work[i];
        begin[s.parent[i]] = std::min(begin[s.parent[i]], begin[i]);
    }
    const auto less = [](const Subtree& a, const Subtree& b) {
        return a.work < b.work || (a.work == b.work && a.root < b.root);
    };
    std::vector<Subtree> heap, chosen;
    for (Int i = 0; i < nodes; ++i)
        if (s.parent[i] < 0) heap.push_back({begin[i], i, work[i]});
    std::make_heap(heap.begin(), heap.end(), less);
    // The largest one is replaced by its children until it is a small part of what there is.
    while (!heap.empty() && heap.front().work > total / (6 * threads)) {
        std::pop_heap(heap.begin(), heap.end(), less);
        const Subtree top = heap.back();
        heap.pop_back();
        for (Int child = top.root - 1; child >= top.begin; child = begin[child] - 1) {
            heap.push_back({begin[child], child, work[child]});
            std::push_heap(heap.begin(), heap.end(), less);
        }
    }
    for (const Subtree& t : heap)
        if (t.work > total / (200 * threads)) chosen.push_back(t);
    std::sort(chosen.begin(), chosen.end(), [&](const Subtree& a, const Subtree& b) { return less(b, a); });
    return chosen;
}

}  // namespace

// One pass: the entry (i, j), j < i, must be the next one of row j beyond its diagonal.
void require_symmetric(const Pattern& a) {
    std::vector<Int> next(a.n);
    Ticker ticker;
    for (Int i = 0; i < a.n; ++i) {
        Int p = a.indptr[i];
        const Int end = a.indptr[i + 1];
        ticker(4 * (end - p) + 8);
        Int before = -1;
        for (; p < end && a.indices[p] < i; ++p) {
            const Int j = a.indices[p];
            if (j <= before) throw std::invalid_argument("column indices are not sorted");
            before = j;
            if (next[j] >= a.indptr[j + 1] || a.indices[next[j]] != i)
                throw std::invalid_argument("the pattern is not symmetric");
            ++next[j];
        }
        if (p < end && a.indices[p] == i) before = a.indices[p++];
        next[i] = p;
        for (; p < end; ++p) {
            if (a.indices[p] <= before || a.indices[p] >= a.n)
                throw std::invalid_argument("column indices are not sorted, or out of range");
            before = a.indices[p];
        }
    }
    for (Int i = 0; i < a.n; ++i)
        if (next[i] != a.indptr[i + 1]) throw std::invalid_argument("the pattern is not symmetric");
}

Cholesky::Cholesky(const Pattern& a, double max_flops, Rows rows) : a_(a) {
    if (rows == Rows::unchecked) require_symmetric(a);
    const Forest forest = minimum_degree(a, max_flops);
    nnz_ = forest.nnz;
    flops_ = forest.flops;
    complete_ = forest.complete;
    if (complete_) symbolic_ = analyse(a, forest);
}

std::int64_t Cholesky::Factor::negative() const { return std::count(signs.begin(), signs.end(), -1.0); }

std::int64_t Cholesky::factor(const double* data, bool indefinite, Factor& factor) const {
    const Symbolic& s = symbolic_;
    factor.signs.assign(indefinite ? s.n : 0, 1.0);
    factor.largest = 0;
    for (Int p = 0; p < a_.indptr[s.n]; ++p) factor.largest = std::max(factor.largest, std::fabs(data[p]));
    double* signs = indefinite ? factor.signs.data() : nullptr;
    const Int nodes = s.nodes();
    if (factor.panels.size() == 0) factor.panels = Array<double>(s.panel[nodes]);
    const int threads = flops_ < kParallel ? 1 : max_threads();
    std::vector<Subtree> subtrees;
    if (threads > 1) subtrees = choose_subtrees(s, threads);

    Int failed = nodes;  // the first node that fails, whichever thread comes to it first
    Long column = -1;
    std::vector<Int> subtree_of(subtrees.empty() ? 0 : nodes, -1);
    std::vector<Array<double>> left(subtrees.size());
    if (!subtrees.empty()) {
        Long need[2] = {0, 0};
        for (std::size_t t = 0; t < subtrees.size(); ++t) {
            Long mine[2];
            s.stack_need(subtrees[t].begin, subtrees[t].root + 1, nullptr, 0, mine);
            for (int side = 0; side < 2; ++side) need[side] = std::max(need[side], mine[side]);
            const std::size_t rows = s.below(subtrees[t].root);
            left[t] = Array<double>(rows * rows);
            for (Int i = subtrees[t].begin; i <= subtrees[t].root; ++i) subtree_of[i] = static_cast<Int>(t);
        }
        std::vector<std::unique_ptr<Fronts>> workers;  // made here: what runs in the threads must not throw
        for (int t = 0; t < threads; ++t)
            workers.push_back(std::make_unique<Fronts>(a_, s, data, factor.panels.data(), signs, need, 1));
        std::atomic<std::size_t> next{0};
        std::mutex mutex;
        parallel(threads, [&](int worker) {
            Fronts& fronts = *workers[worker];
            for (std::size_t t; (t = next.fetch_add(1)) < subtrees.size();) {
                Long bad = -1;
                Int node = subtrees[t].begin;
                for (; node <= subtrees[t].root; ++node)
                    if ((bad = fronts.front(node)) >= 0) break;
                if (bad < 0) {
                    fronts.give(subtrees[t].root, left[t]);
                } else {
                    fronts.forget();
                    std::lock_guard<std::mutex> lock(mutex);
                    if (node < failed) {
                        failed = node;
                        column = bad;
                    }
                }
            }
        });
    }
    Long need[2];
    s.stack_need(0, nodes, subtrees.empty() ? nullptr : subtree_of.data(), -1, need);
    Fronts fronts(a_, s, data, factor.panels.data(), signs, need, threads);
    for (Int node = 0; node < failed; ++node) {
        const Int t = subtrees.empty() ? -1 : subtree_of[node];
        if (t < 0) {
            const Long bad = fronts.front(node);
            if (bad >= 0) return s.order[bad];
        } else {
            node = subtrees[t].root;
            if (node < failed && s.parent[node] >= 0) fronts.receive(node, left[t].data());
        }
    }
    if (failed < nodes) return s.order[column];
    return -1;
}

void Cholesky::pivots(const Factor& factor, double* out) const {
    const Symbolic& s = symbolic_;
    for (Int node = 0; node < s.nodes(); ++node) {
        const Int first = s.first[node], k = s.width(node);
        const Long r = k + s.below(node);
        const double* panel = factor.panels.data() + s.panel[node];
        for (Int j = 0; j < k; ++j) {
            const double root = 1 / panel[j + j * r];  // the diagonal of L is kept as its reciprocal
            out[s.order[first + j]] = root * root * (factor.signs.empty() ? 1.0 : factor.signs[first + j]);
        }
    }
}

double Cholesky::growth(const Factor& factor) const {
    const Symbolic& s = symbolic_;
    std::vector<double> sums(s.n, 0.0), panel_sums(s.longest);
    for (Int node = 0; node < s.nodes(); ++node) {
        const Int first = s.first[node], k = s.width(node), m = s.below(node);
        const Long r = k + m;
        const Int* rows = s.rows.data() + s.row_start[node];
        tick(r * (k + 4));
        std::fill(panel_sums.begin(), panel_sums.begin() + r, 0.0);
        for (Int j = 0; j < k; ++j) {
            const double* column = factor.panels.data() + s.panel[node] + j * r;
            panel_sums[j] += 1 / (column[j] * column[j]);  // the diagonal of L is kept as its reciprocal
            for (Long i = j + 1; i < r; ++i) panel_sums[i] += column[i] * column[i];
        }
        for (Int j = 0; j < k; ++j) sums[first + j] += panel_sums[j];
        for (Int i = 0; i < m; ++i) sums[rows[i]] += panel_sums[k + i];
    }
    double most = 0;
    for (const double sum : sums) most = std::max(most, sum);
    return s.n > 0 ? most / factor.largest : 1.0;
}

}  // namespace nnla
