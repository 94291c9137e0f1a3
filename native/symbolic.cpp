#include "symbolic.hpp"

#include <algorithm>
#include <numeric>

#include "interruption.hpp"

namespace nnla {
namespace {

using Int = std::int32_t;
using Long = std::int64_t;

// Nanoseconds that a front of k columns and m rows below takes, roughly: what decides whether merging a child
// into its parent (fewer, larger fronts with some zeros in them) pays.
double cost(double k, double m) {
    const double flops = k * m * (m + 16) + k * k * (m + 8) + k * k * k / 3;
    return 60 + 0.5 * k * (k + m) + 0.5 * m * m + flops / 24;
}

struct Merged {
    std::vector<Int> into;  // itself for what stays
    std::vector<Int> width, below, parent;
};

Int root_of(std::vector<Int>& into, Int s) {
    while (into[s] != s) s = into[s] = into[into[s]];
    return s;
}

Merged merge(const Forest& forest) {
    const Int nodes = static_cast<Int>(forest.parent.size());
    Merged m;
    m.into.resize(nodes);
    std::iota(m.into.begin(), m.into.end(), 0);
    m.below = forest.below;
    m.parent = forest.parent;
    m.width.resize(nodes);
    for (Int s = 0; s < nodes; ++s) m.width[s] = forest.first[s + 1] - forest.first[s];
    Ticker ticker;
    // Children come before parents: when c looks at its parent, everything below c is settled.
    for (Int c = 0; c < nodes; ++c) {
        const Int p = forest.parent[c];
        ticker(16);
        if (p < 0) continue;
        const double kc = m.width[c], mc = m.below[c], kp = m.width[p], mp = m.below[p];
        if (cost(kc + kp, mp) <= cost(kc, mc) + cost(kp, mp)) {
            m.width[p] += m.width[c];
            m.into[c] = p;
        }
    }
    return m;
}

// Positions in postorder of the nodes that stay.
std::vector<Int> postorder(Merged& m) {
    const Int nodes = static_cast<Int>(m.into.size());
    std::vector<Int> head(nodes + 1, -1), next(nodes, -1), position(nodes, -1), path;
    for (Int s = 0; s < nodes; ++s)
        if (m.into[s] == s && m.parent[s] >= 0) m.parent[s] = root_of(m.into, m.parent[s]);
    for (Int s = nodes - 1; s >= 0; --s) {
        if (m.into[s] != s) continue;
        const Int p = m.parent[s] < 0 ? nodes : m.parent[s];
        next[s] = head[p];
        head[p] = s;
    }
    Int count = 0;
    for (Int root = head[nodes]; root >= 0; root = next[root]) {
        path.push_back(root);
        while (!path.empty()) {
            const Int s = path.back();
            const Int child = head[s];
            if (child >= 0) {
                head[s] = next[child];
                path.push_back(child);
            } else {
                position[s] = count++;
                path.pop_back();
            }
        }
    }
    return position;
}

}  // namespace

void Symbolic::stack_need(Int begin, Int end, const Int* marks, Int mark, Long need[2]) const {
    std::vector<Long> left(end - begin, 0);  // by the children of a node
    Long used[2] = {0, 0};
    need[0] = need[1] = 0;
    for (Int s = begin; s < end; ++s) {
        if (marks != nullptr && marks[s] != mark) continue;
        const int mine = odd[s];
        const Long size = static_cast<Long>(below(s)) * below(s);
        used[mine] += size;
        need[mine] = std::max(need[mine], used[mine]);
        used[1 - mine] -= left[s - begin];
        if (parent[s] >= 0 && parent[s] < end) left[parent[s] - begin] += size;
    }
}

Symbolic analyse(const Pattern& a, const Forest& forest) {
    Symbolic out;
    const Int n = out.n = a.n;
    out.nnz = forest.nnz;
    out.flops = forest.flops;
    Merged m = merge(forest);
    const Int old_nodes = static_cast<Int>(m.into.size());
    const std::vector<Int> position = postorder(m);
    Int nodes = 0;
    for (Int s = 0; s < old_nodes; ++s) nodes += m.into[s] == s;

    out.first.assign(nodes + 1, 0);
    out.parent.assign(nodes, -1);
    std::vector<Int> bound(nodes, 0);
    for (Int s = 0; s < old_nodes; ++s) {
        if (m.into[s] != s) continue;
        const Int t = position[s];
        out.first[t + 1] = m.width[s];
        bound[t] = m.below[s];
        if (m.parent[s] >= 0) out.parent[t] = position[m.parent[s]];
    }
    for (Int s = 0; s < nodes; ++s) out.first[s + 1] += out.first[s];

    // Columns: merged nodes in the order of elimination.
    out.order.resize(n);
    out.inverse.resize(n);
    std::vector<Int> owner(n), next(out.first.begin(), out.first.end());
    for (Int s = 0; s < old_nodes; ++s) {
        const Int t = position[root_of(m.into, s)];
        for (Int p = forest.first[s]; p < forest.first[s + 1]; ++p) {
            const Int column = next[t]++, i = forest.order[p];
            owner[column] = t;
            out.order[column] = i;
            out.inverse[i] = column;
        }
    }

    // Row i of L is not zero in the supernodes on the paths from those of row i of A up to its own.
    std::vector<Long> start(nodes + 1, 0), end(nodes);
    for (Int s = 0; s < nodes; ++s) {
        start[s + 1] = start[s] + bound[s];
        end[s] = start[s];
    }
    out.rows.resize(start[nodes]);
    std::vector<Int> seen(nodes, -1);
    Ticker ticker;
    for (Int i = 0; i < n; ++i) {
        const Int old = out.order[i], own = owner[i];
        ticker(4 * (a.indptr[old + 1] - a.indptr[old]) + 16);
        for (Int p = a.indptr[old]; p < a.indptr[old + 1]; ++p) {
            const Int k = out.inverse[a.indices[p]];
            if (k >= i) continue;
            for (Int s = owner[k]; s >= 0 && s != own && seen[s] != i; s = out.parent[s]) {
                seen[s] = i;
                ticker(4);
                out.rows[end[s]++] = i;
            }
        }
    }
    out.row_start.assign(nodes + 1, 0);
    out.panel.assign(nodes + 1, 0);
    Long to = 0;
    for (Int s = 0; s < nodes; ++s) {  // the bounds are exact but for dense rows
        const Long count = end[s] - start[s];
        ticker(count + 8);
        if (to != start[s]) std::copy(out.rows.begin() + start[s], out.rows.begin() + end[s], out.rows.begin() + to);
        to += count;
        out.row_start[s + 1] = to;
        const Long width = out.width(s), rows = width + count;
        out.panel[s + 1] = out.panel[s] + rows * width;
        out.widest = std::max(out.widest, static_cast<Int>(width));
        out.longest = std::max(out.longest, static_cast<Int>(rows));
    }
    out.rows.resize(to);

    // Fronts leave their update on the stack of their depth, where their parent takes it from the top.
    out.child_count.assign(nodes, 0);
    out.odd.assign(nodes, 0);
    for (Int s = nodes - 1; s >= 0; --s) {
        if (out.parent[s] < 0) continue;
        out.odd[s] = !out.odd[out.parent[s]];
        ++out.child_count[out.parent[s]];
    }
    Long need[2];
    out.stack_need(0, nodes, nullptr, 0, need);
    out.bytes = 8.0 * static_cast<double>(out.panel[nodes] + need[0] + need[1]) + 4.0 * static_cast<double>(to);
    return out;
}

}  // namespace nnla
