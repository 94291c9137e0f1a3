#include "cholesky.hpp"

#include <algorithm>
#include <cstring>
#include <stdexcept>

#include "panel.hpp"

namespace nnla {
namespace {

using Int = std::int32_t;
using Long = std::int64_t;

// One pass: the entry (i, j), j < i, must be the next one of row j beyond its diagonal.
void require_symmetric(const Pattern& a) {
    std::vector<Int> next(a.n);
    for (Int i = 0; i < a.n; ++i) {
        Int p = a.indptr[i];
        const Int end = a.indptr[i + 1];
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

// The work on one front after the other, and what they leave for their parents.
class Fronts {
  public:
    Fronts(const Pattern& a, const Symbolic& s, const double* data, double* panels)
        : a_(a), s_(s), data_(data), panels_(panels), local_(s.n), map_(s.longest), kernels_(panel_kernels()),
          work_(panel_work(s.longest)), stack_{Array<double>(s.stack[0]), Array<double>(s.stack[1])} {}

    // -1, or the column whose pivot is not positive.
    Long front(Int node) {
        const Int first = s_.first[node], k = s_.width(node), m = s_.below(node), r = k + m;
        double* panel = panels_ + s_.panel[node];
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
        const Int children = s_.child_count[node];
        if (children > 0) {
            for (Int j = 0; j < m; ++j) std::memset(update + static_cast<Long>(j) * m + j, 0, sizeof(double) * (m - j));
            auto& waiting = waiting_[theirs];
            Long size = 0;
            for (Int c = 0; c < children; ++c) {
                const Long below = s_.below(waiting[waiting.size() - children + c]);
                size += below * below;
            }
            used_[theirs] -= size;
            const double* from = stack_[theirs].data() + used_[theirs];
            for (Int c = 0; c < children; ++c) {
                const Int child = waiting[waiting.size() - children + c];
                add(child, from, panel, r, k, update, m);
                from += static_cast<Long>(s_.below(child)) * s_.below(child);
            }
            waiting.resize(waiting.size() - children);
        }
        if (s_.parent[node] >= 0) waiting_[mine].push_back(node);
        const int failed = kernels_.factor(panel, r, k, work_.data());
        if (failed >= 0) return first + failed;
        if (m > 0) kernels_.update(update, m, panel + k, r, m, k, children == 0, work_.data());
        used_[mine] += static_cast<Long>(m) * m;
        return -1;
    }

  private:
    // The update that a child left is part of this front.
    void add(Int child, const double* from, double* panel, Int r, Int k, double* update, Int m) {
        const Int count = s_.below(child);
        const Int* rows = s_.rows.data() + s_.row_start[child];
        Int* map = map_.data();
        for (Int t = 0; t < count; ++t) map[t] = local_[rows[t]];
        for (Int j = 0; j < count; ++j, from += count) {
            const Int column = map[j];
            double* to = column < k ? panel + static_cast<Long>(column) * r
                                    : update + static_cast<Long>(column - k) * m - k;
            for (Int t = j; t < count; ++t) to[map[t]] += from[t];
        }
    }

    const Pattern& a_;
    const Symbolic& s_;
    const double* data_;
    double* panels_;
    std::vector<Int> local_, map_, waiting_[2];
    const PanelKernels& kernels_;
    Array<double> work_, stack_[2];
    Long used_[2] = {0, 0};
};

}  // namespace

Cholesky::Cholesky(const Pattern& a, double max_flops) : a_(a) {
    require_symmetric(a);
    const Forest forest = minimum_degree(a, nullptr, max_flops);
    nnz_ = forest.nnz;
    flops_ = forest.flops;
    complete_ = forest.complete;
    if (complete_) symbolic_ = analyse(a, forest);
}

std::int64_t Cholesky::factor(const double* data) {
    factored_ = false;
    const Symbolic& s = symbolic_;
    if (panels_.size() == 0) panels_ = Array<double>(s.panel[s.nodes()]);
    Fronts fronts(a_, s, data, panels_.data());
    for (Int node = 0; node < s.nodes(); ++node) {
        const Long failed = fronts.front(node);
        if (failed >= 0) return s.order[failed];
    }
    factored_ = true;
    return -1;
}

void Cholesky::solve(const double* b, double* x) const {
    const Symbolic& s = symbolic_;
    const PanelKernels& kernels = panel_kernels();
    Array<double> memory(s.n + s.longest);
    double *y = memory.data(), *t = y + s.n;
    for (Int i = 0; i < s.n; ++i) y[i] = b[s.order[i]];
    for (Int node = 0; node < s.nodes(); ++node) {
        const Int first = s.first[node], k = s.width(node), m = s.below(node);
        const Int* rows = s.rows.data() + s.row_start[node];
        for (Int i = 0; i < k; ++i) t[i] = y[first + i];
        for (Int i = 0; i < m; ++i) t[k + i] = y[rows[i]];
        kernels.forward(panels_.data() + s.panel[node], k + m, k, t);
        for (Int i = 0; i < k; ++i) y[first + i] = t[i];
        for (Int i = 0; i < m; ++i) y[rows[i]] = t[k + i];
    }
    for (Int node = s.nodes() - 1; node >= 0; --node) {
        const Int first = s.first[node], k = s.width(node), m = s.below(node);
        const Int* rows = s.rows.data() + s.row_start[node];
        for (Int i = 0; i < k; ++i) t[i] = y[first + i];
        for (Int i = 0; i < m; ++i) t[k + i] = y[rows[i]];
        kernels.backward(panels_.data() + s.panel[node], k + m, k, t);
        for (Int i = 0; i < k; ++i) y[first + i] = t[i];
    }
    for (Int i = 0; i < s.n; ++i) x[s.order[i]] = y[i];
}

}  // namespace nnla
