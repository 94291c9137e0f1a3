#include "ordering.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <stdexcept>

#include "interruption.hpp"

namespace nnla {
namespace {

using Int = std::int32_t;
constexpr Int kNone = -1;

// One object of the quotient graph: a variable (its list: first elen elements, then variables), or, once
// eliminated, the element it became (its list: variables). One cache line holds two of them.
struct Node {
    Int start;   // of its list in lists_
    Int len;     // of its list
    Int elen;    // how many of them are elements
    Int weight;  // variables it stands for; 0 once absorbed; negative while in the pivot's list
    Int degree;  // (bound of the) external degree; of an element: the weight of its list
    Int mark;    // elements: 0 when absorbed, else compared with tag_
    Int next, last;
};

class MinimumDegree {
  public:
    MinimumDegree(const Pattern& a, double max_flops) : n_(a.n), max_flops_(max_flops) {
        compress(a);
        load(a);
    }

    Forest run() {
        while (done_ < n_) {
            const Int pivot = take_minimum();
            ticker_(64);
            eliminate(pivot);
            if (result_.flops > max_flops_) {
                Forest given_up;
                given_up.flops = result_.flops;
                given_up.nnz = result_.nnz;
                given_up.complete = false;
                return given_up;
            }
        }
        finish();
        return std::move(result_);
    }

  private:
    // -- the graph ---------------------------------------------------------------------------------------
    // Neighbouring rows of equal pattern (the unknowns of one mesh node) are one variable from the start.
    void compress(const Pattern& a) {
        leader_.resize(n_);
        for (Int i = 0; i < n_; ++i) {
            leader_[i] = i;
            if (i == 0) continue;
            const Int len = a.indptr[i + 1] - a.indptr[i];
            ticker_(len + 8);
            if (len < 2 || len != a.indptr[i] - a.indptr[i - 1]) continue;
            const Int *row = a.indices + a.indptr[i], *before = a.indices + a.indptr[i - 1];
            bool coupled = false;  // equal patterns without the entry (i, i - 1) are not neighbours
            Int k = 0;
            while (k < len && row[k] == before[k]) coupled |= row[k++] == i;
            if (k == len && coupled && std::binary_search(row, row + len, i - 1)) leader_[i] = leader_[i - 1];
        }
    }

    void load(const Pattern& a) {
        node_.resize(n_);
        head_.assign(n_ + 1, kNone);
        bucket_.assign(n_ + 1, kNone);
        absorbed_.assign(n_, kNone);
        pivot_number_.assign(n_, kNone);
        const std::int64_t entries = a.indptr[n_];
        const std::int64_t space = entries + entries / 5 + n_ + 1;
        if (space > std::numeric_limits<Int>::max()) throw std::length_error("the matrix has too many entries");
        lists_.resize(space);
        for (Int i = 0; i < n_; ++i) node_[i] = Node{0, 0, 0, 0, 0, 1, kNone, kNone};
        for (Int i = 0; i < n_; ++i) {
            if (leader_[i] != i) absorbed_[i] = leader_[i];
            ++node_[leader_[i]].weight;
        }
        for (Int i = 0; i < n_; ++i) {
            if (leader_[i] != i) continue;
            Node& v = node_[i];
            v.start = free_;
            ticker_(2 * (a.indptr[i + 1] - a.indptr[i]) + 8);
            for (Int p = a.indptr[i]; p < a.indptr[i + 1]; ++p) {
                const Int j = a.indices[p];
                if (leader_[j] != j || j == i) continue;
                lists_[free_++] = j;
                v.degree += node_[j].weight;
            }
            v.len = free_ - v.start;
        }
        // Rows of very many entries go last: they would sit in every list and end up there anyway.
        const double dense = std::max(16.0, 10 * std::sqrt(static_cast<double>(n_)));
        for (Int i = 0; i < n_; ++i) {
            Node& v = node_[i];
            if (v.weight == 0) continue;
            if (v.degree > dense) {
                dense_.push_back(i);
                dense_weight_ += v.weight;
                v.weight = 0;
            } else {
                link(i);
            }
        }
        done_ = dense_weight_;
    }

    // -- lists of equal degree ---------------------------------------------------------------------------
    void link(Int i) {
        Node& v = node_[i];
        const Int first = head_[v.degree];
        v.next = first;
        v.last = kNone;
        if (first != kNone) node_[first].last = i;
        head_[v.degree] = i;
        if (v.degree < lowest_) lowest_ = v.degree;
    }

    void unlink(Int i) {
        const Node& v = node_[i];
        if (v.next != kNone) node_[v.next].last = v.last;
        if (v.last != kNone) node_[v.last].next = v.next;
        else head_[v.degree] = v.next;
    }

    Int take_minimum() {
        while (head_[lowest_] == kNone) ++lowest_;
        const Int pivot = head_[lowest_];
        unlink(pivot);
        return pivot;
    }

    // -- one step of elimination -------------------------------------------------------------------------
    void eliminate(Int me) {
        Int width = node_[me].weight;
        done_ += width;
        node_[me].weight = -width;
        gather(me);
        Int below = node_[me].degree;
        if (done_ + below == n_) {
            // All that remains is in the pivot's list: one dense block.
            for (Int k = 0; k < node_[me].len; ++k) {
                const Int i = lists_[node_[me].start + k];
                absorbed_[i] = me;
                node_[i].weight = 0;
            }
            // elements not absorbed yet are parts of the last block too
            for (std::size_t s = 0; s < pivots_.size(); ++s)
                if (result_.parent[s] == kNone && result_.below[s] > 0) result_.parent[s] = me;
            done_ += below;
            record(me, width + below, 0);
            return;
        }
        overlap(me);
        below = update_degrees(me, width, below);
        merge_equals(me);
        relink(me, below);
        record(me, width, below);
        Node& element = node_[me];
        element.weight = width;
        element.degree = below;
        if (element.len == 0) element.mark = 0;
    }

    // The pivot's list: its variables and those of its elements, which it absorbs.
    void gather(Int me) {
        Node& pivot = node_[me];
        if (pivot.elen == 0) {
            Int end = pivot.start, degree = 0;
            for (Int p = pivot.start, stop = p + pivot.len; p < stop; ++p) degree += take(lists_[p], end);
            pivot.len = end - pivot.start;
            pivot.degree = degree;
            in_place_ = true;
        } else {
            std::int64_t bound = pivot.len - pivot.elen;
            for (Int k = 0; k < pivot.elen; ++k) bound += node_[lists_[pivot.start + k]].len;
            if (free_ + bound > static_cast<std::int64_t>(lists_.size())) collect(bound);
            const Int start = free_, own = pivot.start, elements = pivot.elen;
            Int end = start, degree = 0;
            for (Int k = 0; k < elements; ++k) {
                const Int e = lists_[own + k];
                Node& element = node_[e];
                for (Int p = element.start, stop = p + element.len; p < stop; ++p) degree += take(lists_[p], end);
                absorb_element(e, me);
            }
            for (Int p = own + elements, stop = own + pivot.len; p < stop; ++p) degree += take(lists_[p], end);
            pivot.start = start;
            pivot.len = end - start;
            pivot.degree = degree;
            free_ = end;
            in_place_ = false;
        }
        pivot.elen = 0;
        pivot.mark = 0;  // set when it is an element in its own right
    }

    Int take(Int i, Int& end) {
        Node& v = node_[i];
        const Int weight = v.weight;
        if (weight <= 0) return 0;
        v.weight = -weight;
        lists_[end++] = i;
        unlink(i);
        return weight;
    }

    void absorb_element(Int e, Int me) {
        result_.parent[pivot_number_[e]] = me;  // numbered in finish()
        node_[e].mark = 0;
        node_[e].len = 0;
    }

    // Moves the living lists together, in a new place of at least `extra` free entries.
    void collect(std::int64_t extra) {
        std::int64_t used = extra + 1;
        for (const Node& v : node_) used += v.len;
        if (used > std::numeric_limits<Int>::max()) throw std::length_error("the matrix has too many entries");
        std::vector<Int> moved(std::max<std::int64_t>(used, static_cast<std::int64_t>(lists_.size())));
        Int end = 0;
        for (Node& v : node_) {
            if (v.len == 0) continue;
            std::copy_n(lists_.begin() + v.start, v.len, moved.begin() + end);
            v.start = end;
            end += v.len;
        }
        lists_.swap(moved);
        free_ = end;
    }

    void next_tag(Int step) {
        if (tag_ > std::numeric_limits<Int>::max() - 2 * n_ - step - 2) {
            for (Node& v : node_) v.mark = v.mark != 0;
            tag_ = 2;
        } else {
            tag_ += step;
        }
    }

    // For every element e that touches the pivot's list: mark - tag_ = weight of what it has outside of it.
    void overlap(Int me) {
        const Node& pivot = node_[me];
        for (Int k = pivot.start, stop = k + pivot.len; k < stop; ++k) {
            const Node& v = node_[lists_[k]];
            const Int weight = -v.weight, fresh = tag_ - weight;
            for (Int p = v.start, end = p + v.elen; p < end; ++p) {
                Node& e = node_[lists_[p]];
                if (e.mark >= tag_) e.mark -= weight;
                else if (e.mark != 0) e.mark = e.degree + fresh;
            }
        }
    }

    // New lists and approximate degrees of the pivot's variables; those left without anything else are eliminated
    // with the pivot. Returns the weight that remains below.
    Int update_degrees(Int me, Int& width, Int below) {
        const Node& pivot = node_[me];
        widest_ = std::max(widest_, below);
        for (Int k = pivot.start, stop = k + pivot.len; k < stop; ++k) {
            const Int i = lists_[k];
            Node& v = node_[i];
            const Int begin = v.start, split = begin + v.elen, end = begin + v.len;
            ticker_(4 * v.len + 32);
            Int to = begin, degree = 0;
            std::uint32_t hash = 0;
            for (Int p = begin; p < split; ++p) {
                const Int e = lists_[p];
                const Int mark = node_[e].mark;
                if (mark == 0) continue;
                if (mark > tag_) {
                    degree += mark - tag_;
                    lists_[to++] = e;
                    hash += static_cast<std::uint32_t>(e);
                } else {
                    absorb_element(e, me);  // nothing outside of the pivot's list
                }
            }
            const Int variables = to;
            for (Int p = split; p < end; ++p) {
                const Int j = lists_[p];
                const Int weight = node_[j].weight;
                if (weight <= 0) continue;
                degree += weight;
                lists_[to++] = j;
                hash += static_cast<std::uint32_t>(j);
            }
            if (to == begin) {
                const Int weight = -v.weight;
                absorbed_[i] = me;
                below -= weight;
                width += weight;
                done_ += weight;
                v.weight = 0;
                v.len = 0;
                continue;
            }
            v.degree = std::min(v.degree, degree);
            // The pivot comes first in the list; one entry at least has gone, so there is room.
            lists_[to] = lists_[variables];
            lists_[variables] = lists_[begin];
            lists_[begin] = me;
            v.elen = variables - begin + 1;
            v.len = to - begin + 1;
            const Int slot = static_cast<Int>(hash % static_cast<std::uint32_t>(n_));
            v.last = slot;
            v.next = bucket_[slot];
            bucket_[slot] = i;
        }
        return below;
    }

    // Variables of the pivot's list with equal lists become one.
    void merge_equals(Int me) {
        next_tag(widest_ + 1);
        const Node& pivot = node_[me];
        for (Int k = pivot.start, stop = k + pivot.len; k < stop; ++k) {
            const Int first = lists_[k];
            if (node_[first].weight == 0) continue;
            const Int slot = node_[first].last;
            Int i = bucket_[slot];
            bucket_[slot] = kNone;
            for (; i != kNone && node_[i].next != kNone; i = node_[i].next) {
                Node& v = node_[i];
                for (Int p = v.start + 1, end = v.start + v.len; p < end; ++p) node_[lists_[p]].mark = tag_;
                Int before = i;
                for (Int j = v.next; j != kNone;) {
                    Node& other = node_[j];
                    ticker_(other.len + 8);
                    bool equal = other.len == v.len && other.elen == v.elen;
                    for (Int p = other.start + 1, end = other.start + other.len; equal && p < end; ++p)
                        equal = node_[lists_[p]].mark == tag_;
                    const Int next = other.next;
                    if (equal) {
                        absorbed_[j] = i;
                        v.weight += other.weight;
                        other.weight = 0;
                        other.len = 0;
                        node_[before].next = next;
                    } else {
                        before = j;
                    }
                    j = next;
                }
                next_tag(1);
            }
        }
        node_[me].mark = 1;
    }

    void relink(Int me, Int below) {
        Node& pivot = node_[me];
        Int end = pivot.start;
        const Int remaining = n_ - done_;
        for (Int k = pivot.start, stop = k + pivot.len; k < stop; ++k) {
            const Int i = lists_[k];
            Node& v = node_[i];
            const Int weight = -v.weight;
            if (weight == 0) continue;
            v.weight = weight;
            v.degree = std::min(v.degree + below - weight, remaining - weight);
            link(i);
            lists_[end++] = i;
        }
        pivot.len = end - pivot.start;
        if (!in_place_) free_ = end;
    }

    // -- what comes out ----------------------------------------------------------------------------------
    void record(Int me, Int width, Int below) {
        pivot_number_[me] = static_cast<Int>(pivots_.size());
        pivots_.push_back(me);
        widths_.push_back(width);
        result_.below.push_back(below + dense_weight_);
        result_.parent.push_back(kNone);
        count(width, below + dense_weight_);
    }

    void count(double k, double r) {
        result_.nnz += k * r + k * (k + 1) / 2;
        result_.flops += k * r * r + r * k * (k + 1) + k * (k + 1) * (2 * k + 1) / 6;
    }

    void finish() {
        for (Int& parent : result_.parent)
            if (parent != kNone) parent = pivot_number_[parent];
        if (!dense_.empty()) {
            const Int last = static_cast<Int>(pivots_.size());
            for (Int& parent : result_.parent)
                if (parent == kNone) parent = last;
            pivots_.push_back(dense_.front());
            widths_.push_back(dense_weight_);
            result_.below.push_back(0);
            result_.parent.push_back(kNone);
            for (const Int i : dense_) absorbed_[i] = dense_.front();
            absorbed_[dense_.front()] = kNone;
            pivot_number_[dense_.front()] = last;
            count(dense_weight_, 0);
        }
        const Int nodes = static_cast<Int>(pivots_.size());
        result_.first.resize(nodes + 1);
        result_.first[0] = 0;
        for (Int s = 0; s < nodes; ++s) result_.first[s + 1] = result_.first[s] + widths_[s];
        std::vector<Int>& next = widths_;
        std::copy_n(result_.first.begin(), nodes, next.begin());
        result_.order.resize(n_);
        for (Int i = 0; i < n_; ++i) {
            Int root = i;
            ticker_(16);
            while (pivot_number_[root] == kNone) root = absorbed_[root];
            for (Int j = i; pivot_number_[j] == kNone;) {  // the next one has a shorter way
                const Int up = absorbed_[j];
                absorbed_[j] = root;
                j = up;
            }
            result_.order[next[pivot_number_[root]]++] = i;
        }
    }

    Int n_;
    double max_flops_;
    std::vector<Node> node_;
    std::vector<Int> lists_, head_, bucket_, leader_, absorbed_, pivot_number_, pivots_, widths_, dense_;
    Int free_ = 0, lowest_ = std::numeric_limits<Int>::max(), done_ = 0, tag_ = 2, widest_ = 0;
    Int dense_weight_ = 0;
    bool in_place_ = false;
    Ticker ticker_;
    Forest result_;
};

}  // namespace

Forest minimum_degree(const Pattern& a, double max_flops) {
    if (a.n == 0) {
        Forest empty;
        empty.first = {0};
        return empty;
    }
    return MinimumDegree(a, max_flops).run();
}

}  // namespace nnla
