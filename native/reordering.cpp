#include "reordering.hpp"

#include <algorithm>
#include <cstdlib>
#include <memory>
#include <numeric>
#include <utility>
#include <vector>

#include "interruption.hpp"
#include "prefetch.hpp"
#include "threads.hpp"

namespace nnla {
namespace {

using Index = std::int32_t;
using Array = std::unique_ptr<Index[]>;

Array make_array(std::int64_t size) { return Array(new Index[static_cast<std::size_t>(std::max<std::int64_t>(size, 1))]); }

// A range of the first numbering, and where the level farthest from its first node starts.
struct Component {
    Index begin, last_level, end;
};

// A first numbering by breadth, from whatever node comes first. Everything after it works on the renumbered
// pattern, where neighbours are near in memory: in a random order this one pass is the expensive one.
class Breadth {
  public:
    explicit Breadth(const CsrPattern& A) : A_(A), order_(make_array(A.n + 1)), number_(make_array(A.n)) {
        std::fill(number_.get(), number_.get() + A.n, Index{-1});
        std::int64_t filled = 0;
        for (std::int64_t root = 0; root < A.n; ++root) {
            if (number_[root] >= 0) continue;
            Component found;
            found.begin = static_cast<Index>(filled);
            filled = visit(static_cast<Index>(root), filled, found.last_level);
            found.end = static_cast<Index>(filled);
            components_.push_back(found);
        }
    }

    const Index* order() const { return order_.get(); }
    const std::vector<Component>& components() const { return components_; }

    // The pattern in the new numbers. Entries that lead out of their component, which only patterns that are not
    // symmetric have, become diagonal ones.
    void renumber(std::vector<Index>& indptr, Array& indices) const {
        indptr.resize(static_cast<std::size_t>(A_.n) + 1);
        indices = make_array(A_.indptr[A_.n]);
        Index at = 0;
        Ticker ticker;
        for (const Component& c : components_) {
            for (Index i = c.begin; i < c.end; ++i) {
                indptr[i] = at;
                const Index old = order_[i];
                ticker(2 * (A_.indptr[old + 1] - A_.indptr[old]) + 8);
                if (i + 10 < A_.n) NNLA_PREFETCH(A_.indptr + order_[i + 10]);
                if (i + 7 < A_.n) NNLA_PREFETCH(A_.indices + A_.indptr[order_[i + 7]]);
                if (i + 3 < A_.n) {
                    const Index soon = order_[i + 3];
                    for (Index k = A_.indptr[soon]; k < A_.indptr[soon + 1]; ++k)
                        NNLA_PREFETCH(number_.get() + A_.indices[k]);
                }
                for (Index k = A_.indptr[old]; k < A_.indptr[old + 1]; ++k) {
                    const Index number = number_[A_.indices[k]];
                    indices[at++] = number >= c.begin && number < c.end ? number : i;
                }
            }
        }
        indptr[A_.n] = at;
    }

  private:
    std::int64_t visit(Index root, std::int64_t filled, Index& last_level) {
        std::int64_t head = filled, level_end = filled;
        number_[root] = static_cast<Index>(filled);
        order_[filled++] = root;
        for (; head < filled; ++head) {
            if (head == level_end) {
                last_level = static_cast<Index>(head);
                level_end = filled;
            }
            if (head + 8 < filled) NNLA_PREFETCH(A_.indptr + order_[head + 8]);
            if (head + 5 < filled) NNLA_PREFETCH(A_.indices + A_.indptr[order_[head + 5]]);
            if (head + 2 < filled) {
                const Index soon = order_[head + 2];
                for (Index k = A_.indptr[soon]; k < A_.indptr[soon + 1]; ++k)
                    NNLA_PREFETCH(number_.get() + A_.indices[k]);
            }
            const Index node = order_[head];
            ticker_(4 * (A_.indptr[node + 1] - A_.indptr[node]) + 8);
            for (Index k = A_.indptr[node]; k < A_.indptr[node + 1]; ++k) {
                const Index next = A_.indices[k], number = number_[next];
                order_[filled] = next;  // without a branch, which nobody could predict
                number_[next] = number < 0 ? static_cast<Index>(filled) : number;
                filled += number < 0;
            }
        }
        return filled;
    }

    const CsrPattern A_;
    Array order_, number_;
    std::vector<Component> components_;
    Ticker ticker_;
};

// Cuthill-McKee orders, one component after the other.
class CuthillMcKee {
  public:
    explicit CuthillMcKee(const CsrPattern& A)
        : A_(A), place_(make_array(A.n)), best_(make_array(A.n + 1)), other_(make_array(A.n + 1)) {}

    // Writes the order of a component to the same range of order().
    void run(const Component& c) {
        if (c.end - c.begin <= 2) {
            std::iota(best_.get() + c.begin, best_.get() + c.end, c.begin);
            return;
        }
        std::iota(other_.get() + c.last_level, other_.get() + c.end, c.last_level);
        Visit best = visit(c, narrowest(other_.get() + c.last_level, other_.get() + c.end), best_.get());
        for (int attempt = 0; attempt < kAttempts; ++attempt) {
            const Index root = narrowest(best_.get() + best.last_level, best_.get() + c.end);
            const Visit found = visit(c, root, other_.get());
            // The eccentricity grows towards the periphery; what counts in the end is the bandwidth.
            if (found.bandwidth < best.bandwidth || (found.levels > best.levels && found.bandwidth == best.bandwidth)) {
                std::copy(other_.get() + c.begin, other_.get() + c.end, best_.get() + c.begin);
                const bool much_farther = found.levels > best.levels + best.levels / 16;
                best = found;
                if (much_farther) continue;
            }
            break;
        }
    }

    const Index* order() const { return best_.get(); }

  private:
    struct Visit {
        Index levels = 0, last_level = 0, bandwidth = 0;
    };
    static constexpr int kAttempts = 8;
    static constexpr Index kShort = 24;  // nodes that insertion sorts fastest

    Index degree(Index node) const { return A_.indptr[node + 1] - A_.indptr[node]; }

    Index narrowest(const Index* begin, const Index* end) const {
        return *std::min_element(begin, end, [this](Index a, Index b) { return degree(a) < degree(b); });
    }

    // By increasing degree, equal ones in the order in which they were found.
    void sort_by_degree(Index* begin, Index* end) const {
        if (end - begin > kShort) {
            std::stable_sort(begin, end, [this](Index a, Index b) { return degree(a) < degree(b); });
            return;
        }
        for (Index* p = begin + 1; p < end; ++p) {
            const Index node = *p, d = degree(node);
            Index* q = p;
            for (; q > begin && degree(q[-1]) > d; --q) *q = q[-1];
            *q = node;
        }
    }

    Visit visit(const Component& c, Index root, Index* order) {
        std::fill(place_.get() + c.begin, place_.get() + c.end, Index{-1});
        Visit found;
        Index filled = c.begin, head = c.begin, level_end = c.begin, unseen = c.begin;
        order[filled++] = root;
        place_[root] = c.begin;
        for (; head < c.end; ++head) {
            if (head == filled) {  // only where the pattern is not symmetric: nothing else leads on
                while (place_[unseen] >= 0) ++unseen;
                place_[unseen] = filled;
                order[filled++] = unseen;
            }
            if (head == level_end) {
                found.last_level = head;
                ++found.levels;
                level_end = filled;
            }
            const Index node = order[head], before = filled;
            ticker_(4 * degree(node) + 8);
            Index farthest = head;
            for (Index k = A_.indptr[node]; k < A_.indptr[node + 1]; ++k) {
                const Index next = A_.indices[k], known = place_[next], place = known < 0 ? filled : known;
                order[filled] = next;
                place_[next] = place;
                farthest = std::max(farthest, place);
                filled += known < 0;
            }
            if (filled - before > 1) {
                sort_by_degree(order + before, order + filled);
                for (Index k = before; k < filled; ++k) place_[order[k]] = k;
            }
            found.bandwidth = std::max(found.bandwidth, farthest - head);
        }
        return found;
    }

    const CsrPattern A_;
    Array place_, best_, other_;
    Ticker ticker_;
};

// One row of a permuted matrix: columns sorted, values with them.
template <class V> void place_row(const Index* columns, const double* values, Index length, const Index* number,
                                  Index* out_columns, V* out_values) {
    constexpr Index kShort = 48;
    if (length <= kShort) {
        for (Index k = 0; k < length; ++k) {
            const Index column = number[columns[k]];
            Index at = k;
            for (; at > 0 && out_columns[at - 1] > column; --at) {
                out_columns[at] = out_columns[at - 1];
                out_values[at] = out_values[at - 1];
            }
            out_columns[at] = column;
            out_values[at] = static_cast<V>(values[k]);
        }
        return;
    }
    std::vector<std::pair<Index, double>> entries(static_cast<std::size_t>(length));
    for (Index k = 0; k < length; ++k) entries[k] = {number[columns[k]], values[k]};
    std::sort(entries.begin(), entries.end(), [](const auto& a, const auto& b) { return a.first < b.first; });
    for (Index k = 0; k < length; ++k) {
        out_columns[k] = entries[k].first;
        out_values[k] = static_cast<V>(entries[k].second);
    }
}

}  // namespace

void reverse_cuthill_mckee(const CsrPattern& A, std::int32_t* order) {
    if (A.n == 0) return;
    const Breadth breadth(A);
    std::vector<Index> indptr;
    Array indices;
    breadth.renumber(indptr, indices);
    CuthillMcKee ordering(CsrPattern{A.n, indptr.data(), indices.get()});
    for (const Component& c : breadth.components()) ordering.run(c);
    for (std::int64_t k = 0; k < A.n; ++k) order[A.n - 1 - k] = breadth.order()[ordering.order()[k]];
}

template <class V>
void permute_symmetric(const CsrPattern& A, const double* data, const std::int32_t* order, std::int32_t* new_indptr,
                       std::int32_t* new_indices, V* new_data) {
    Array number = make_array(A.n);
    new_indptr[0] = 0;
    Ticker ticker;
    for (std::int64_t i = 0; i < A.n; ++i) {
        ticker(8);
        if (i + 16 < A.n) NNLA_PREFETCH(A.indptr + order[i + 16]);
        number[order[i]] = static_cast<Index>(i);
        new_indptr[i + 1] = new_indptr[i] + (A.indptr[order[i] + 1] - A.indptr[order[i]]);
    }
    constexpr std::int64_t kRows = 4096;
    parallel(static_cast<int>((A.n + kRows - 1) / kRows), [&](int part) {
        const std::int64_t begin = part * kRows, end = std::min(A.n, begin + kRows);
        tick(kRows * 16 + 2 * (new_indptr[end] - new_indptr[begin]));
        for (std::int64_t i = begin; i < end; ++i) {
            if (i + 12 < end) NNLA_PREFETCH(A.indptr + order[i + 12]);
            if (i + 8 < end) {
                const Index at = A.indptr[order[i + 8]];
                NNLA_PREFETCH(A.indices + at);
                NNLA_PREFETCH(data + at);
            }
            if (i + 3 < end) {
                const Index soon = order[i + 3];
                for (Index k = A.indptr[soon]; k < A.indptr[soon + 1]; ++k) NNLA_PREFETCH(number.get() + A.indices[k]);
            }
            const Index from = A.indptr[order[i]];
            place_row(A.indices + from, data + from, A.indptr[order[i] + 1] - from, number.get(),
                      new_indices + new_indptr[i], new_data + new_indptr[i]);
        }
    });
}

template void permute_symmetric<double>(const CsrPattern&, const double*, const std::int32_t*, std::int32_t*,
                                        std::int32_t*, double*);
template void permute_symmetric<float>(const CsrPattern&, const double*, const std::int32_t*, std::int32_t*, std::int32_t*,
                                       float*);

Locality locality(const CsrPattern& A, int per_line) {
    Locality found;
    Ticker ticker;
    for (std::int64_t i = 0; i < A.n; ++i) {
        ticker(2);
        if (A.indptr[i] == A.indptr[i + 1]) continue;
        const std::int64_t first = A.indices[A.indptr[i]], last = A.indices[A.indptr[i + 1] - 1];
        found.bandwidth = std::max(found.bandwidth, std::max(i - first, last - i));
    }
    constexpr std::int64_t kSample = 2048;
    const std::int64_t slices = (A.n + 15) / 16, step = std::max<std::int64_t>(1, slices / kSample);
    std::vector<Index> lines;
    double span = 0, touched = 0;
    std::int64_t sampled = 0;
    for (std::int64_t s = 0; s < slices; s += step, ++sampled) {
        const std::int64_t begin = A.indptr[16 * s], end = A.indptr[std::min(A.n, 16 * s + 16)];
        lines.clear();
        ticker(20 * (end - begin));
        for (std::int64_t k = begin; k < end; ++k) lines.push_back(A.indices[k]);
        if (lines.empty()) continue;
        std::sort(lines.begin(), lines.end());
        span += static_cast<double>(lines.back()) - lines.front() + 1;
        for (Index& column : lines) column /= per_line;
        touched += static_cast<double>(std::unique(lines.begin(), lines.end()) - lines.begin());
    }
    if (sampled > 0) {
        found.span = span / static_cast<double>(sampled);
        found.lines = touched / static_cast<double>(sampled);
    }
    return found;
}

}  // namespace nnla
