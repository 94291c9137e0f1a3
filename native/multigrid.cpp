#include "multigrid.hpp"

#include <algorithm>
#include <cmath>
#include <utility>

#include "interruption.hpp"
#include "spare.hpp"
#include "threads.hpp"

namespace nnla {
namespace {

// Below this many entries a second thread costs more than it saves.
constexpr std::int64_t kSerial = 100000;
constexpr std::int64_t kBlock = 1024;  // rows between two ticks

template <class T> struct Csr {
    std::int64_t rows = 0;
    std::vector<std::int32_t> indptr, indices;
    std::vector<T> data;

    // (row, part) pairs are formed anew for each call: entries of row i do not depend on the partition, so results
    // are the same for any number of threads.
    template <class F> void each_row(const F& f) const {
        const std::int64_t nnz = indptr[rows];
        const int parts = nnz + rows < kSerial ? 1 : max_threads();
        const std::int64_t per_row = 4 + nnz / std::max<std::int64_t>(rows, 1);
        const auto range = [&](std::int64_t begin, std::int64_t end) {
            for (std::int64_t i = begin; i < end;) {
                const std::int64_t stop = std::min(end, i + kBlock);
                tick((stop - i) * per_row);
                for (; i < stop; ++i) f(i);
            }
        };
        if (parts == 1) {
            range(0, rows);
            return;
        }
        const auto bound = [&](int part) {
            const auto goal = static_cast<std::int32_t>(nnz * part / parts);
            return std::lower_bound(indptr.begin(), indptr.begin() + rows, goal) - indptr.begin();
        };
        parallel(parts, [&](int part) {
            const std::int64_t begin = part == 0 ? 0 : bound(part);
            const std::int64_t end = part + 1 == parts ? rows : bound(part + 1);
            range(begin, end);
        });
    }

    T product(std::int64_t i, const T* x) const {
        const std::int32_t end = indptr[i + 1];
        std::int32_t k = indptr[i];
        const T* a = data.data();
        const std::int32_t* j = indices.data();
        T sum = 0;
        if (end - k >= 8) {
            T s0 = 0, s1 = 0, s2 = 0, s3 = 0;
            for (; k + 4 <= end; k += 4) {
                s0 += a[k] * x[j[k]];
                s1 += a[k + 1] * x[j[k + 1]];
                s2 += a[k + 2] * x[j[k + 2]];
                s3 += a[k + 3] * x[j[k + 3]];
            }
            sum = (s0 + s1) + (s2 + s3);
        }
        for (; k < end; ++k) sum += a[k] * x[j[k]];
        return sum;
    }
};

// out(i, value) gets P(A) z row by row; z, and what u, v, w point to, are read until then. Two vectors of the state
// are enough beside the accumulator, as a new C may take the place of the old B.
template <class T, class Out>
void apply_layers(const Csr<T>& A, const Layers& c, const T* z, T* u, T* v, T* w, const Out& out) {
    const T x0 = static_cast<T>(c.x0), x1 = static_cast<T>(c.x1);
    const std::size_t depth = c.rho.size();
    if (depth == 1 && c.beta[0] == 0) {  // P = a + b A
        const T a = static_cast<T>(c.gamma[0] + c.eta[0] + c.alpha[0] * c.x0);
        const T b = static_cast<T>(c.alpha[0] * c.x1);
        if (b == 0) {
            A.each_row([&](std::int64_t i) { out(i, a * z[i]); });
        } else {
            A.each_row([&](std::int64_t i) { out(i, a * z[i] + b * A.product(i, z)); });
        }
        return;
    }
    const T *acc = z, *old = z, *now = z;
    T* free = u;
    if (c.starts_with_product()) {
        A.each_row([&](std::int64_t i) { u[i] = x1 * A.product(i, z) + x0 * z[i]; });
        now = u;
        free = v;
    }
    for (std::size_t k = 0; k < depth; ++k) {
        const T rho = static_cast<T>(c.rho[k]), gamma = static_cast<T>(c.gamma[k]), eta = static_cast<T>(c.eta[k]);
        const T alpha = static_cast<T>(c.alpha[k]), beta = static_cast<T>(c.beta[k]);
        const bool last = k + 1 == depth, moves = !last && rho != 0;
        const T* old_acc = acc;
        const auto row = [&](std::int64_t i) {
            const T here = now[i], sum = acc[i];
            T value = alpha * here + eta * old[i] + gamma * sum;
            if (beta != 0) value += beta * A.product(i, now);
            if (moves) w[i] = sum + rho * here;
            return value;
        };
        if (last) {
            A.each_row([&](std::int64_t i) { out(i, row(i)); });
            return;
        }
        // B is read at its own row only, so C may overwrite it (but not the caller's z).
        T* target = old == z || old == now ? free : const_cast<T*>(old);
        A.each_row([&](std::int64_t i) {
            const T value = row(i);
            target[i] = value;
        });
        if (target == free) free = free == u ? v : u;
        if (moves) acc = w;
        (void)old_acc;
        old = now;
        now = target;
    }
}

template <class T> struct Level {
    Csr<T> A, P, R;
    Layers smoother;
    double gershgorin = 0;
    bool smooths = false;

    // P(A) is a number, as for one sweep of damped Jacobi: then nothing but residuals need a pass.
    bool constant(T* value) const {
        const Layers& c = smoother;
        if (c.rho.size() != 1 || c.alpha[0] != 0 || c.beta[0] != 0) return false;
        *value = static_cast<T>(c.gamma[0] + c.eta[0]);
        return true;
    }
};

// The vectors of a level; those of the recurrence where it has one.
template <class T> struct Vectors {
    explicit Vectors(const Level<T>& level) {
        const auto n = static_cast<std::size_t>(level.A.rows);
        for (auto* vector : {&x, &r, &t}) vector->resize(n);
        if (level.smooths && (level.smoother.rho.size() > 1 || level.smoother.beta[0] != 0))
            for (auto* vector : {&u, &v, &w}) vector->resize(n);
    }
    std::vector<T> x, r, t, u, v, w;
};

// The inverse of a symmetric semidefinite matrix with a diagonal of ones, in place, by Gauss-Jordan sweeps. A pivot
// that is lost to rounding is left out: the result is then a symmetric semidefinite generalised inverse.
void sweep(std::vector<double>& B, std::size_t n) {
    std::vector<double> row(n);
    std::vector<char> out(n, 0);
    for (std::size_t k = 0; k < n; ++k) {
        tick(static_cast<std::int64_t>(n * n / 4));
        const double pivot = B[k * n + k];
        if (!(pivot > 1e-12)) {
            out[k] = 1;
            continue;
        }
        for (std::size_t j = 0; j < n; ++j) row[j] = B[k * n + j];
        for (std::size_t i = 0; i < n; ++i) {
            double* b = B.data() + i * n;
            const double factor = row[i] / pivot;
            if (i == k || factor == 0) continue;
            for (std::size_t j = 0; j < n; ++j) b[j] -= factor * row[j];
            b[k] = factor;
        }
        for (std::size_t j = 0; j < n; ++j) B[k * n + j] = row[j] / pivot;
        B[k * n + k] = -1.0 / pivot;
    }
    for (std::size_t i = 0; i < n; ++i)
        for (std::size_t j = 0; j < n; ++j) B[i * n + j] = out[i] || out[j] ? 0.0 : -B[i * n + j];
}

template <class T> class MultigridOf final : public Multigrid {
  public:
    void add_level(const CsrView& A, const double* scale, const CsrView& P, const double* coarse_scale) override {
        Level<T> level = made(A, scale);
        std::vector<double> inverse(static_cast<std::size_t>(A.rows));
        for (std::int64_t i = 0; i < A.rows; ++i) inverse[i] = 1.0 / scale[i];
        level.P = scaled(P, inverse.data(), coarse_scale);
        level.R = transposed(level.P, P.columns);
        add(std::move(level), scale);
    }

    void add_coarsest(const CsrView& A, const double* scale) override { add(made(A, scale), scale); }

    void invert() override {
        const Csr<T>& A = levels_.back().A;
        const std::size_t n = static_cast<std::size_t>(A.rows);
        std::vector<double> B(n * n, 0.0);
        for (std::size_t i = 0; i < n; ++i)
            for (std::int32_t k = A.indptr[i]; k < A.indptr[i + 1]; ++k) B[i * n + A.indices[k]] += A.data[k];
        sweep(B, n);
        inverse_.assign(B.begin(), B.end());
    }

    void set_smoother(int index, const Layers& layers) override {
        Level<T>& level = levels_[static_cast<std::size_t>(index)];
        level.smoother = layers;
        level.smooths = true;
        forget_vectors();
    }

    int levels() const override { return static_cast<int>(levels_.size()); }
    std::int64_t coarse_size() const override { return levels_.empty() ? 0 : levels_.back().R.rows; }
    std::int64_t size() const override { return levels_.empty() ? 0 : levels_.front().A.rows; }

    bool complete() const override {
        if (levels_.empty()) return false;
        for (std::size_t k = 0; k + 1 < levels_.size(); ++k)
            if (!levels_[k].smooths || levels_[k].P.rows == 0) return false;
        return !inverse_.empty() || levels_.back().smooths;
    }

    void apply(const double* r, double* z) override {
        typename Spare<Work>::Lease work(
            spare_, [](const Work&) { return true; },
            [&] { return std::make_unique<Work>(levels_.begin(), levels_.end()); });
        Vectors<T>& top = work->front();
        const std::int64_t n = size();
        double largest = 0;
        for (std::int64_t i = 0; i < n; ++i) largest = std::max(largest, std::abs(scale_[i] * r[i]));
        int exponent = 0;
        if (largest > 0 && std::isfinite(largest)) std::frexp(largest, &exponent);
        const double down = std::ldexp(1.0, -exponent), up = std::ldexp(1.0, exponent);
        for (std::int64_t i = 0; i < n; ++i) top.r[i] = static_cast<T>(scale_[i] * r[i] * down);
        cycle(0, *work);
        for (std::int64_t i = 0; i < n; ++i) z[i] = scale_[i] * static_cast<double>(top.x[i]) * up;
    }

    double gershgorin(int level) const override { return levels_[static_cast<std::size_t>(level)].gershgorin; }

    int lanczos(int index, int steps, double* alpha, double* beta) const override {
        const Csr<T>& A = levels_[static_cast<std::size_t>(index)].A;
        const std::size_t n = static_cast<std::size_t>(A.rows);
        std::vector<T> v(n), before(n), w(n);
        // A fixed start, the same estimate in every run: splitmix64 of the row number.
        double size = 0;
        for (std::size_t i = 0; i < n; ++i) {
            std::uint64_t hash = (static_cast<std::uint64_t>(i) + 1) * 0x9E3779B97F4A7C15ull;
            hash = (hash ^ (hash >> 30)) * 0xBF58476D1CE4E5B9ull;
            hash = (hash ^ (hash >> 27)) * 0x94D049BB133111EBull;
            hash ^= hash >> 31;
            const double x = std::ldexp(static_cast<double>(hash >> 11), -52) - 1.0;
            v[i] = static_cast<T>(x);
            size += x * x;
        }
        for (auto& x : v) x = static_cast<T>(x / std::sqrt(size));
        double previous = 0;
        for (int k = 0; k < steps; ++k) {
            A.each_row([&](std::int64_t i) { w[i] = A.product(i, v.data()) - static_cast<T>(previous) * before[i]; });
            double a = 0, square = 0;
            for (std::size_t i = 0; i < n; ++i) a += static_cast<double>(w[i]) * v[i];
            for (std::size_t i = 0; i < n; ++i) {
                w[i] -= static_cast<T>(a) * v[i];
                square += static_cast<double>(w[i]) * w[i];
            }
            alpha[k] = a;
            beta[k] = previous = std::sqrt(square);
            if (!(previous > 1e-6)) return k + 1;
            const T inverse = static_cast<T>(1.0 / previous);
            for (std::size_t i = 0; i < n; ++i) {
                before[i] = v[i];
                v[i] = w[i] * inverse;
            }
        }
        return steps;
    }

  private:
    using Work = std::vector<Vectors<T>>;

    static Level<T> made(const CsrView& A, const double* scale) {
        Level<T> level;
        level.A = scaled(A, scale, scale);
        Ticker ticker;
        for (std::int64_t i = 0; i < A.rows; ++i) {
            double sum = 0;
            ticker(A.indptr[i + 1] - A.indptr[i] + 8);
            for (std::int32_t k = A.indptr[i]; k < A.indptr[i + 1]; ++k) sum += std::abs(A.data[k]);
            level.gershgorin = std::max(level.gershgorin, sum * scale[i] * scale[i]);
        }
        return level;
    }

    // A whole level or, where something ended the call before, none.
    void add(Level<T>&& level, const double* scale) {
        if (levels_.empty()) scale_.assign(scale, scale + level.A.rows);
        levels_.push_back(std::move(level));
        forget_vectors();
    }

    // Of other levels or smoothers.
    void forget_vectors() {
        while (spare_.take()) continue;
    }

    static Csr<T> scaled(const CsrView& A, const double* rows, const double* columns) {
        Csr<T> B;
        B.rows = A.rows;
        B.indptr.assign(A.indptr, A.indptr + A.rows + 1);
        B.indices.assign(A.indices, A.indices + A.nnz());
        B.data.resize(static_cast<std::size_t>(A.nnz()));
        Ticker ticker;
        for (std::int64_t i = 0; i < A.rows; ++i) {
            ticker(A.indptr[i + 1] - A.indptr[i] + 8);
            for (std::int32_t k = A.indptr[i]; k < A.indptr[i + 1]; ++k)
                B.data[k] = static_cast<T>(rows[i] * A.data[k] * columns[A.indices[k]]);
        }
        return B;
    }

    static Csr<T> transposed(const Csr<T>& A, std::int64_t columns) {
        Csr<T> B;
        B.rows = columns;
        B.indptr.assign(static_cast<std::size_t>(columns) + 1, 0);
        B.indices.resize(A.indices.size());
        B.data.resize(A.data.size());
        for (const std::int32_t j : A.indices) ++B.indptr[j + 1];
        for (std::int64_t j = 0; j < columns; ++j) B.indptr[j + 1] += B.indptr[j];
        std::vector<std::int32_t> next(B.indptr.begin(), B.indptr.end() - 1);
        Ticker ticker;
        for (std::int64_t i = 0; i < A.rows; ++i) {
            ticker(4 * (A.indptr[i + 1] - A.indptr[i]) + 8);
            for (std::int32_t k = A.indptr[i]; k < A.indptr[i + 1]; ++k) {
                const std::int32_t at = next[A.indices[k]]++;
                B.indices[at] = static_cast<std::int32_t>(i);
                B.data[at] = A.data[k];
            }
        }
        return B;
    }

    // x = (the cycle from this level down) r
    void cycle(std::size_t index, Work& work) const {
        const Level<T>& level = levels_[index];
        Vectors<T>& own = work[index];
        T *x = own.x.data(), *t = own.t.data();
        const T* r = own.r.data();
        const Csr<T>& A = level.A;
        if (index + 1 == levels_.size()) {
            solve_coarsest(level, own);
            return;
        }
        Vectors<T>& coarse = work[index + 1];
        T factor = 0;
        if (level.constant(&factor)) {
            A.each_row([&](std::int64_t i) { t[i] = r[i] - factor * A.product(i, r); });
            level.R.each_row([&](std::int64_t i) { coarse.r[i] = level.R.product(i, t); });
            cycle(index + 1, work);
            const T* e = coarse.x.data();
            level.P.each_row([&](std::int64_t i) { t[i] = factor * r[i] + level.P.product(i, e); });
            A.each_row([&](std::int64_t i) { x[i] = t[i] + factor * (r[i] - A.product(i, t)); });
            return;
        }
        T *u = own.u.data(), *v = own.v.data(), *w = own.w.data();
        apply_layers(A, level.smoother, r, u, v, w, [&](std::int64_t i, T value) { x[i] = value; });
        A.each_row([&](std::int64_t i) { t[i] = r[i] - A.product(i, x); });
        level.R.each_row([&](std::int64_t i) { coarse.r[i] = level.R.product(i, t); });
        cycle(index + 1, work);
        const T* e = coarse.x.data();
        level.P.each_row([&](std::int64_t i) { x[i] += level.P.product(i, e); });
        A.each_row([&](std::int64_t i) { t[i] = r[i] - A.product(i, x); });
        apply_layers(A, level.smoother, t, u, v, w, [&](std::int64_t i, T value) { x[i] += value; });
    }

    void solve_coarsest(const Level<T>& level, Vectors<T>& own) const {
        const std::size_t n = static_cast<std::size_t>(level.A.rows);
        if (inverse_.empty()) {
            apply_layers(level.A, level.smoother, own.r.data(), own.u.data(), own.v.data(), own.w.data(),
                         [&](std::int64_t i, T value) { own.x[i] = value; });
            return;
        }
        for (std::size_t i = 0; i < n; ++i) {
            const T* row = inverse_.data() + i * n;
            T s0 = 0, s1 = 0, s2 = 0, s3 = 0;
            std::size_t j = 0;
            for (; j + 4 <= n; j += 4) {
                s0 += row[j] * own.r[j];
                s1 += row[j + 1] * own.r[j + 1];
                s2 += row[j + 2] * own.r[j + 2];
                s3 += row[j + 3] * own.r[j + 3];
            }
            for (; j < n; ++j) s0 += row[j] * own.r[j];
            own.x[i] = (s0 + s1) + (s2 + s3);
        }
    }

    std::vector<Level<T>> levels_;
    Spare<Work> spare_;
    std::vector<double> scale_;
    std::vector<T> inverse_;
};

}  // namespace

std::unique_ptr<Multigrid> make_multigrid(bool single) {
    if (single) return std::make_unique<MultigridOf<float>>();
    return std::make_unique<MultigridOf<double>>();
}

}  // namespace nnla
