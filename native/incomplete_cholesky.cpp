#include "incomplete_cholesky.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <mutex>
#include <vector>

#include "flush_denormals.hpp"
#include "incomplete_order.hpp"

namespace nnla {
namespace {

// A triangle by rows, in solving order.
template <class T> struct Triangle {
    std::unique_ptr<std::int32_t[]> start, column;
    std::unique_ptr<T[]> value;
};

template <class T> class Substitution final : public IncompleteCholesky {
  public:
    explicit Substitution(UnitFactor&& f) : n_(f.n), order_(independent_order(f)) {
        shift_ = f.shift;
        nnz_ = static_cast<std::int64_t>(f.start[n_]) + n_;
        store(f);
        grow(1);
    }

    std::int64_t size() const override { return n_; }
    int value_size() const override { return sizeof(T); }
    bool reordered() const override { return !order_.empty(); }
    std::int64_t bytes() const override {
        const std::int64_t each = 2 * (sizeof(T) + 4), row = 8 + 8 + 4 * (order_.empty() ? 0 : 1);
        return (nnz_ - n_) * each + n_ * (row + static_cast<std::int64_t>(sizeof(T)) * width_);
    }

    void apply(const double* r, double* z) override { solve<1>(r, z, 1); }
    void apply32(const float* r, float* z) override { solve<1>(r, z, 1); }

    void apply_block(const double* r, double* z, std::int64_t k) override {
        std::int64_t c = 0;
        for (; c + 8 <= k; c += 8) solve<8>(r + c, z + c, k);
        for (; c + 4 <= k; c += 4) solve<4>(r + c, z + c, k);
        for (; c < k; ++c) solve<1>(r + c, z + c, k);
    }

    void export_lower(std::int32_t* start, std::int32_t* column, double* value) const override {
        // L = V D (I + N), and V D = 1 / T.
        start[0] = 0;
        for (std::int32_t s = 0; s < n_; ++s) start[unknown(s) + 1] = lower_.start[s + 1] - lower_.start[s] + 1;
        for (std::int32_t i = 0; i < n_; ++i) start[i + 1] += start[i];
        for (std::int32_t s = 0; s < n_; ++s) {
            const double diagonal = 1.0 / scale_[s];
            std::int32_t q = start[unknown(s)];
            for (std::int32_t p = lower_.start[s]; p < lower_.start[s + 1]; ++p, ++q) {
                column[q] = unknown(lower_.column[p]);
                value[q] = diagonal * lower_.value[p];
            }
            column[q] = unknown(s);
            value[q] = diagonal;
        }
    }

  private:
    std::int32_t unknown(std::int32_t s) const { return order_.empty() ? s : order_[s]; }

    void store(UnitFactor& f) {
        const std::int32_t nnz = f.start[n_];
        std::vector<std::int32_t> position(n_), next(n_);
        for (std::int32_t s = 0; s < n_; ++s) position[unknown(s)] = s;
        for (Triangle<T>* t : {&lower_, &upper_}) {
            t->start.reset(new std::int32_t[n_ + 1]());
            t->column.reset(new std::int32_t[nnz]);
            t->value.reset(new T[nnz]);
        }
        scale_.reset(new double[n_]);
        for (std::int32_t p = 0; p < nnz; ++p) ++lower_.start[position[f.row[p]] + 1];
        for (std::int32_t s = 0; s < n_; ++s) lower_.start[s + 1] += lower_.start[s];
        std::copy_n(lower_.start.get(), n_, next.begin());
        // Rows of the lower triangle: columns ascend, so that what was computed last is needed last.
        for (std::int32_t k = 0; k < n_; ++k)
            for (std::int32_t p = f.start[k]; p < f.start[k + 1]; ++p) {
                const std::int32_t q = next[position[f.row[p]]]++;
                lower_.column[q] = position[k];
                lower_.value[q] = static_cast<T>(f.value[p]);
            }
        // Rows of the upper triangle, solved from the end: descending for the same reason.
        std::int32_t q = 0;
        for (std::int32_t s = 0; s < n_; ++s) {
            const std::int32_t k = unknown(s);
            scale_[s] = f.scale[k];
            for (std::int32_t p = f.start[k + 1]; p-- > f.start[k]; ++q) {
                upper_.column[q] = position[f.row[p]];
                upper_.value[q] = static_cast<T>(f.value[p]);
            }
            upper_.start[s + 1] = q;
        }
    }

    void grow(std::int64_t width) {
        if (width <= width_) return;
        work_.reset(new T[n_ * width]);
        width_ = width;
    }

    template <int K, class V> void solve(const V* r, V* z, std::int64_t stride) {
        std::lock_guard<std::mutex> lock(in_use_);
        FlushDenormals flush(sizeof(T) == 4);
        grow(K);
        if (order_.empty())
            substitute<K, false>(r, z, stride);
        else
            substitute<K, true>(r, z, stride);
    }

    // float32 holds 1e-38 .. 1e38, vectors of float64 may lie anywhere. They are multiplied by a power of two, which
    // rounds nothing; the last one is tried first, as consecutive vectors of a solver are alike.
    bool in_range(double largest, double& factor) const {
        if (sizeof(T) == 8 || largest == 0.0 || !(largest <= std::numeric_limits<double>::max())) return true;
        if (largest > 1e-9 && largest < 1e15) return true;
        factor = std::ldexp(factor, -std::ilogb(largest));
        return false;
    }

    // K columns at once; `stride` numbers from one row of r and z to the next.
    template <int K, bool Permuted, class V> void substitute(const V* r, V* z, std::int64_t stride) {
        double largest[K];
        for (;;) {
            forward<K, Permuted>(r, stride, largest);
            bool good = true;
            for (int c = 0; c < K; ++c) good = in_range(largest[c], factor_[c]) && good;
            if (good) break;
        }
        backward<K, Permuted>(z, stride);
    }

    template <int K, bool Permuted, class V> void forward(const V* r, std::int64_t stride, double* largest) {
        const std::int32_t *order = order_.data(), *start = lower_.start.get(), *column = lower_.column.get();
        const T* value = lower_.value.get();
        const double* scale = scale_.get();
        T* y = work_.get();
        double factor[K], most[K];
        for (int c = 0; c < K; ++c) factor[c] = factor_[c], most[c] = 0.0;
        for (std::int32_t s = 0; s < n_; ++s) {
            const V* in = r + (Permuted ? order[s] : s) * stride;
            T sum[K];
            for (int c = 0; c < K; ++c) {
                const double v = factor[c] * (scale[s] * in[c]), size = std::fabs(v);
                if (sizeof(T) == 4) most[c] = size > most[c] ? size : most[c];
                sum[c] = static_cast<T>(v);
            }
            for (std::int32_t p = start[s], end = start[s + 1]; p < end; ++p) {
                const T v = value[p];
                const T* x = y + static_cast<std::int64_t>(column[p]) * K;
                for (int c = 0; c < K; ++c) sum[c] -= v * x[c];
            }
            for (int c = 0; c < K; ++c) y[static_cast<std::int64_t>(s) * K + c] = sum[c];
        }
        for (int c = 0; c < K; ++c) largest[c] = most[c];
    }

    template <int K, bool Permuted, class V> void backward(V* z, std::int64_t stride) {
        const std::int32_t *order = order_.data(), *start = upper_.start.get(), *column = upper_.column.get();
        const T* value = upper_.value.get();
        const double* scale = scale_.get();
        T* y = work_.get();
        double inverse[K];
        for (int c = 0; c < K; ++c) inverse[c] = 1.0 / factor_[c];
        for (std::int32_t s = n_; s-- > 0;) {
            T sum[K];
            for (int c = 0; c < K; ++c) sum[c] = y[static_cast<std::int64_t>(s) * K + c];
            for (std::int32_t p = start[s], end = start[s + 1]; p < end; ++p) {
                const T v = value[p];
                const T* x = y + static_cast<std::int64_t>(column[p]) * K;
                for (int c = 0; c < K; ++c) sum[c] -= v * x[c];
            }
            V* out = z + (Permuted ? order[s] : s) * stride;
            for (int c = 0; c < K; ++c) {
                y[static_cast<std::int64_t>(s) * K + c] = sum[c];
                out[c] = static_cast<V>(inverse[c] * (scale[s] * sum[c]));
            }
        }
    }

    std::int32_t n_;
    std::vector<std::int32_t> order_;
    Triangle<T> lower_, upper_;
    std::unique_ptr<double[]> scale_;
    std::unique_ptr<T[]> work_;
    std::int64_t width_ = 0;
    double factor_[8] = {1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0};
    std::mutex in_use_;
};

}  // namespace

std::unique_ptr<IncompleteCholesky> make_incomplete_cholesky(UnitFactor&& factor, bool single) {
    UnitFactor f = std::move(factor);
    if (single) return std::make_unique<Substitution<float>>(std::move(f));
    return std::make_unique<Substitution<double>>(std::move(f));
}

}  // namespace nnla
