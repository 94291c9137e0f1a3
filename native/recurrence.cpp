#include "recurrence.hpp"

#include <algorithm>
#include <cmath>
#include <stdexcept>

#include "interruption.hpp"
#include "threads.hpp"

namespace nnla {
namespace {

constexpr std::size_t kRowsPerPart = 16384;  // what a thread takes at a time
constexpr std::size_t kSmallestChunk = 16;   // slices; less is all loop overhead
constexpr int kFewestSteps = 3;              // a sweep of fewer does not pay for its bookkeeping

// Of a step on so many slices, roughly.
std::int64_t operations(std::size_t slices) { return static_cast<std::int64_t>(slices) * kLanes * 8; }

// job(first slice, last slice) over all slices, in parts for the threads.
template <class F> void over_slices(std::size_t slices, F job) {
    constexpr std::size_t each = kRowsPerPart / kLanes;
    const std::size_t parts = (slices + each - 1) / each;
    if (parts <= 1) {
        tick(operations(slices));
        job(std::size_t{0}, slices);
        return;
    }
    parallel(static_cast<int>(parts), [&](int p) {
        const std::size_t lo = static_cast<std::size_t>(p) * each, hi = std::min(slices, lo + each);
        tick(operations(hi - lo));
        FlushDenormals flush;
        job(lo, hi);
    });
}

}  // namespace

template <class V> Traversal plan_traversal(const Sliced<V>& M, int steps, CacheBudget budget, int columns) {
    using T = typename arithmetic<V>::type;
    Traversal plan;
    const std::size_t slices = M.slices();
    const std::size_t slice_vectors = 4 * kLanes * sizeof(T) * static_cast<std::size_t>(columns);
    const std::size_t all = M.bytes() + slices * slice_vectors;
    if (all <= budget.far || steps < kFewestSteps) return plan;
    const double each = static_cast<double>(all) / static_cast<double>(slices);
    // Greedy chunks of `goal` slices, or as many as the bandwidth forces; returns the largest.
    const auto chunk = [&](double goal) {
        const std::size_t least = std::max(kSmallestChunk, static_cast<std::size_t>(goal));
        plan.ends.clear();
        std::size_t end = 0, largest = 0;
        while (end < slices) {
            const std::size_t touched = end == 0 ? 0 : M.reach()[end - 1] + 1;
            const std::size_t next = std::min(slices, std::max(touched, end + least));
            largest = std::max(largest, next - end);
            end = next;
            plan.ends.push_back(static_cast<std::uint32_t>(end));
        }
        return static_cast<double>(largest) * each;
    };
    // A sweep of k steps keeps k + 2 chunks alive. All steps in the near cache, or as many as the far one allows.
    for (const std::size_t window : {budget.near, budget.far}) {
        const double bytes = chunk(static_cast<double>(window) / (each * (steps + 2)));
        const int possible = static_cast<int>(std::min(static_cast<double>(window) / bytes - 2, 1e6));
        const int needed = window == budget.far ? kFewestSteps : steps;
        if (possible < needed || plan.ends.size() < 4) continue;
        const int sweeps = (steps + possible - 1) / possible;
        plan.steps = (steps + sweeps - 1) / sweeps;
        plan.window = static_cast<std::size_t>(bytes * (plan.steps + 2));
        return plan;
    }
    plan.ends.clear();
    return plan;
}

template <class V>
RecurrenceRunner<V>::RecurrenceRunner(std::shared_ptr<const Sliced<V>> M, Coefficients c, CacheBudget budget,
                                      int columns)
    : M_(std::move(M)), columns_(columns) {
    const std::size_t depth = c.rho.size();
    if (depth == 0 || c.gamma.size() != depth || c.eta.size() != depth || c.alpha.size() != depth ||
        c.beta.size() != depth)
        throw std::invalid_argument("a recurrence needs coefficients of one equal length >= 1");
    steps_.push_back(Step<double>{0, 0, 0, c.start_alpha, c.start_beta, nullptr, nullptr, nullptr, nullptr});
    for (std::size_t k = 0; k < depth; ++k) {
        Step<double> s{k + 1 < depth ? c.rho[k] : 0.0, c.gamma[k], c.eta[k], c.alpha[k], c.beta[k],
                       nullptr, nullptr, nullptr, nullptr};
        if (k == 0) {  // B_0 = A_0 = z, so that no work vector has to be read before it is written
            s.gamma += s.eta;
            s.eta = 0;
        }
        accumulates_ = accumulates_ || s.rho != 0;
        steps_.push_back(s);
    }
    const std::size_t size = static_cast<std::size_t>(M_->n()) * static_cast<std::size_t>(columns);
    traversal_ = plan_traversal(*M_, static_cast<int>(steps_.size()), budget, columns);
    z_ = PaddedVector<T>(size);
    for (auto& w : work_) w = PaddedVector<T>(size);
    if (accumulates_) acc_ = PaddedVector<T>(size);
}

template <class V> int RecurrenceRunner<V>::products() const {
    return static_cast<int>(std::count_if(steps_.begin(), steps_.end(), [](const auto& s) { return s.beta != 0; }));
}

template <class V> Step<typename arithmetic<V>::type> RecurrenceRunner<V>::step(int k) {
    const Step<double>& s = steps_[static_cast<std::size_t>(k)];
    Step<T> out;
    out.rho = static_cast<T>(s.rho);
    out.gamma = static_cast<T>(s.gamma);
    out.eta = static_cast<T>(s.eta);
    out.alpha = static_cast<T>(s.alpha);
    out.beta = static_cast<T>(s.beta);
    out.c = k == 0 ? z_.data() : work_[(k - 1) % 2].data();
    out.out = work_[k % 2].data();
    // A_k is z until the first layer has added to it; then it lives in acc_.
    bool moved = false;
    for (int j = 1; j < k; ++j) moved = moved || steps_[static_cast<std::size_t>(j)].rho != 0;
    out.acc = moved ? acc_.data() : z_.data();
    out.acc_target = accumulates_ ? acc_.data() : nullptr;
    return out;
}

template <class V> void RecurrenceRunner<V>::execute(const Step<T>& s, std::size_t lo, std::size_t hi) const {
    if (columns_ == 1)
        kernels<V>().step(*M_, lo, hi, s);
    else
        kernels<V>().block_step(*M_, lo, hi, columns_, s);
}

template <class V> void RecurrenceRunner<V>::whole(int k) {
    const Step<T> s = step(k);
    over_slices(M_->slices(), [&](std::size_t lo, std::size_t hi) { execute(s, lo, hi); });
}

template <class V> void RecurrenceRunner<V>::advance(std::size_t chunk, int k) {
    const std::size_t lo = chunk == 0 ? 0 : traversal_.ends[chunk - 1];
    tick(operations(traversal_.ends[chunk] - lo) * columns_);
    execute(step(k), lo, traversal_.ends[chunk]);
}

// Steps first ... last - 1 of every chunk. Chunk c may take its step k when its neighbours have taken k - 1, and
// writes over what only they needed for that. Threads own contiguous chunks; near a border between two of them
// a chunk at distance d takes d + 1 steps at first (d = 0 beside it), and the triangle above is filled after.
template <class V> void RecurrenceRunner<V>::sweep(int first, int last) {
    const int K = last - first;
    const std::size_t chunks = traversal_.ends.size();
    const std::size_t fewest = 3 * static_cast<std::size_t>(K);  // triangles must not meet
    const std::size_t parts = std::max<std::size_t>(1, std::min<std::size_t>(static_cast<std::size_t>(max_threads()), chunks / fewest));
    const auto border = [&](std::size_t p) { return chunks * p / parts; };
    parallel(static_cast<int>(parts), [&](int index) {
        FlushDenormals flush;
        const std::size_t p = static_cast<std::size_t>(index);
        const std::size_t from = border(p), to = border(p + 1);
        const auto allowed = [&](std::size_t c) {
            int levels = K;
            if (p > 0) levels = std::min<int>(levels, static_cast<int>(std::min<std::size_t>(c - from, 1u << 20)) + 1);
            if (p + 1 < parts) levels = std::min<int>(levels, static_cast<int>(std::min<std::size_t>(to - 1 - c, 1u << 20)) + 1);
            return levels;
        };
        for (std::size_t front = from; front < to + static_cast<std::size_t>(K) - 1; ++front)
            for (int k = 0; k < K && front >= from + static_cast<std::size_t>(k); ++k) {
                const std::size_t c = front - static_cast<std::size_t>(k);
                if (c < to && k < allowed(c)) advance(c, first + k);
            }
    });
    if (parts == 1 || K == 1) return;
    parallel(static_cast<int>(parts) - 1, [&](int index) {
        FlushDenormals flush;
        const std::size_t b = border(static_cast<std::size_t>(index) + 1);
        for (int k = 1; k < K; ++k)  // the step after k of the chunks b - k ... b + k - 1
            for (std::size_t c = b - static_cast<std::size_t>(k); c < b + static_cast<std::size_t>(k); ++c)
                advance(c, first + k);
    });
}

template <class V> const typename arithmetic<V>::type* RecurrenceRunner<V>::run() {
    FlushDenormals flush;
    const int total = static_cast<int>(steps_.size());
    if (traversal_.steps == 0) {
        for (int k = 0; k < total; ++k) whole(k);
    } else {
        // Fewer steps a sweep where there would be too few chunks for all threads.
        const int share = static_cast<int>(traversal_.ends.size()) / (3 * max_threads());
        const int steps = max_threads() == 1 ? traversal_.steps : std::min(traversal_.steps, std::max(share, kFewestSteps));
        for (int k = 0; k < total; k += steps) sweep(k, std::min(total, k + steps));
    }
    return work_[(total - 1) % 2].data();
}

template <class V>
PolynomialPreconditioner<V>::PolynomialPreconditioner(std::shared_ptr<const Sliced<V>> M, Coefficients coefficients,
                                                      const double* scale, CacheBudget budget)
    : M_(M), coefficients_(coefficients), budget_(budget) {
    auto runner = std::make_unique<RecurrenceRunner<V>>(M_, coefficients_, budget_);
    traversal_ = runner->traversal();
    runners_.give(std::move(runner));
    if (scale == nullptr) return;
    scale_.assign(scale, scale + M->n());
    double largest = 0;
    for (double s : scale_) largest = std::max(largest, s);
    int exponent = 0;
    if (largest > 0) std::frexp(largest, &exponent);
    unit_ = std::ldexp(1.0, -exponent);
}

template <class V> void PolynomialPreconditioner<V>::apply(const double* r, double* z) {
    typename Spare<RecurrenceRunner<V>>::Lease runner(
        runners_, [](const auto&) { return true; },
        [&] { return std::make_unique<RecurrenceRunner<V>>(M_, coefficients_, budget_); });
    T* input = runner->input();
    const std::size_t n = static_cast<std::size_t>(size());
    const double* scale = scale_.empty() ? nullptr : scale_.data();
    over_slices((n + kLanes - 1) / kLanes, [&](std::size_t lo, std::size_t hi) {
        const std::size_t end = std::min(n, hi * kLanes);
        if (scale == nullptr)
            for (std::size_t i = lo * kLanes; i < end; ++i) input[i] = static_cast<T>(r[i]);
        else
            for (std::size_t i = lo * kLanes; i < end; ++i) input[i] = static_cast<T>(unit_ * scale[i] * r[i]);
    });
    const T* result = runner->run();
    over_slices((n + kLanes - 1) / kLanes, [&](std::size_t lo, std::size_t hi) {
        const std::size_t end = std::min(n, hi * kLanes);
        if (scale == nullptr)
            for (std::size_t i = lo * kLanes; i < end; ++i) z[i] = static_cast<double>(result[i]);
        else
            for (std::size_t i = lo * kLanes; i < end; ++i) z[i] = scale[i] / unit_ * static_cast<double>(result[i]);
    });
}

template <class V> void PolynomialPreconditioner<V>::apply_block(const double* r, double* z, int columns) {
    const std::size_t n = static_cast<std::size_t>(size()), k = static_cast<std::size_t>(columns);
    for (std::size_t from = 0; from < k;) {
        const std::size_t left = k - from;
        const std::size_t width = left >= 5 ? 8 : left >= 3 ? 4 : 2;
        const std::size_t used = std::min(left, width);
        typename Spare<RecurrenceRunner<V>>::Lease block(
            block_runners_, [&](const auto& known) { return known.columns() == static_cast<int>(width); },
            [&] {
                return std::make_unique<RecurrenceRunner<V>>(M_, coefficients_, budget_, static_cast<int>(width));
            });
        T* input = block->input();
        Ticker ticker;
        for (std::size_t i = 0; i < n; ++i) {
            ticker(static_cast<std::int64_t>(width));
            const double s = scale_.empty() ? 1.0 : scale_[i] * unit_;
            for (std::size_t j = 0; j < width; ++j)
                input[i * width + j] = j < used ? static_cast<T>(s * r[i * k + from + j]) : T(0);
        }
        const T* result = block->run();
        for (std::size_t i = 0; i < n; ++i) {
            ticker(static_cast<std::int64_t>(width));
            const double s = scale_.empty() ? 1.0 : scale_[i] / unit_;
            for (std::size_t j = 0; j < used; ++j) z[i * k + from + j] = s * static_cast<double>(result[i * width + j]);
        }
        from += used;
    }
}

template Traversal plan_traversal(const Sliced<double>&, int, CacheBudget, int);
template Traversal plan_traversal(const Sliced<float>&, int, CacheBudget, int);
template Traversal plan_traversal(const Sliced<bfloat16>&, int, CacheBudget, int);
template class RecurrenceRunner<double>;
template class RecurrenceRunner<float>;
template class RecurrenceRunner<bfloat16>;
template class PolynomialPreconditioner<double>;
template class PolynomialPreconditioner<float>;
template class PolynomialPreconditioner<bfloat16>;

}  // namespace nnla
