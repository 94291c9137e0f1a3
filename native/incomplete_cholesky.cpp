#include "incomplete_cholesky.hpp"

#include <algorithm>
#include <vector>

#include "incomplete_order.hpp"
#include "interruption.hpp"
#include "memory.hpp"
#include "spare.hpp"

namespace nnla {
namespace {

// Rows with more entries than this (on average, left of the diagonal) hide by themselves the wait of one row for the
// other. They stay in the matrix's order, and one triangle serves both directions.
constexpr double kLongRow = 8.0;

// A triangle of N or N^T by rows, columns ascending in the order of the unknowns.
template <class T> struct Triangle {
    void allocate(std::int32_t n, std::int32_t nnz) {
        start.reset(new std::int32_t[n + 1]());
        column.reset(new std::int32_t[nnz]);
        value.reset(new T[nnz]);
    }
    std::unique_ptr<std::int32_t[]> start, column;
    std::unique_ptr<T[]> value;
};

// Vectors are float64 whatever T is: with float32 vectors the solve is symmetric to float32 only, which cost CG up to
// 26 % more iterations, while an L rounded to float32 costs none; and float64 vectors are as fast, as these loops wait
// for their predecessors and for the entries of N.
template <class T> class Substitution final : public IncompleteCholesky {
  public:
    explicit Substitution(IncompleteFactor&& f) : n_(f.n), scattered_(f.start[f.n] > kLongRow * f.n) {
        shift_ = f.shift;
        modified_ = f.modified;
        nnz_ = static_cast<std::int64_t>(f.start[n_]) + n_;
        of_block_ = kBlock * (4 + nnz_ / std::max(n_, 1));
        if (!scattered_) order_ = independent_order(f);
        store_upper(f);
        if (!scattered_) store_lower();
        work_.give(std::make_unique<Array<double>>(static_cast<std::size_t>(n_)));
    }

    std::int64_t size() const override { return n_; }
    int value_size() const override { return sizeof(T); }

    void apply(const double* r, double* z) override { solve<1>(r, z, 1); }

    void apply_block(const double* r, double* z, std::int64_t k) override {
        std::int64_t c = 0;
        for (; c + 8 <= k; c += 8) solve<8>(r + c, z + c, k);
        for (; c + 4 <= k; c += 4) solve<4>(r + c, z + c, k);
        for (; c < k; ++c) solve<1>(r + c, z + c, k);
    }

    void export_lower(std::int32_t* start, std::int32_t* column, double* value) const override {
        // L = V P^1/2 (I + N), and V P^1/2 = 1 / T. The transpose of the upper triangle, unknown by unknown.
        std::vector<std::int32_t> position(n_);
        for (std::int32_t s = 0; s < n_; ++s) position[unknown(s)] = s;
        std::fill_n(start, n_ + 1, 0);
        for (std::int32_t p = 0; p < upper_.start[n_]; ++p) ++start[unknown(upper_.column[p]) + 1];
        for (std::int32_t i = 0; i < n_; ++i) start[i + 1] += start[i] + 1;
        std::vector<std::int32_t> next(start, start + n_);
        for (std::int32_t k = 0; k < n_; ++k) {
            const std::int32_t s = position[k];
            for (std::int32_t p = upper_.start[s]; p < upper_.start[s + 1]; ++p) {
                const std::int32_t q = next[unknown(upper_.column[p])]++;
                column[q] = k;
                value[q] = upper_.value[p] / scale_[upper_.column[p]];
            }
            column[start[k + 1] - 1] = k;
            value[start[k + 1] - 1] = 1.0 / scale_[s];
        }
    }

  private:
    // Blocks of rows between two ticks: a call in the loop over rows would cost it its registers.
    std::int32_t block_end(std::int32_t top) const { return top < n_ - kBlock ? top + kBlock : n_; }
    std::int32_t block_begin(std::int32_t bottom) const { return bottom > kBlock ? bottom - kBlock : 0; }

    std::int32_t unknown(std::int32_t s) const { return order_.empty() ? s : order_[s]; }

    void store_upper(IncompleteFactor& f) {
        const double* inverse_root = f.inverse_root.get();
        if (order_.empty()) {
            upper_.start = std::move(f.start);
            upper_.column = std::move(f.row);
            scale_ = std::move(f.scale);
            upper_.value.reset(new T[upper_.start[n_]]);
            for (std::int32_t k = 0; k < n_; ++k) {
                if (k % kBlock == 0) tick(of_block_);
                for (std::int32_t p = upper_.start[k]; p < upper_.start[k + 1]; ++p)
                    upper_.value[p] = static_cast<T>(f.value[p] * inverse_root[k] * inverse_root[upper_.column[p]]);
            }
            f.value.reset();
            return;
        }
        upper_.allocate(n_, f.start[n_]);
        scale_.reset(new double[n_]);
        std::vector<std::int32_t> position(n_);
        for (std::int32_t s = 0; s < n_; ++s) position[order_[s]] = s;
        std::int32_t q = 0;
        for (std::int32_t s = 0; s < n_; ++s) {
            if (s % kBlock == 0) tick(of_block_);
            const std::int32_t k = order_[s];
            scale_[s] = f.scale[k];
            for (std::int32_t p = f.start[k]; p < f.start[k + 1]; ++p, ++q) {
                upper_.column[q] = position[f.row[p]];
                upper_.value[q] = static_cast<T>(f.value[p] * inverse_root[k] * inverse_root[f.row[p]]);
            }
            upper_.start[s + 1] = q;
        }
        f = IncompleteFactor();
    }

    // The transpose of the upper triangle.
    void store_lower() {
        const std::int32_t nnz = upper_.start[n_];
        lower_.allocate(n_, nnz);
        for (std::int32_t p = 0; p < nnz; ++p) ++lower_.start[upper_.column[p] + 1];
        for (std::int32_t s = 0; s < n_; ++s) lower_.start[s + 1] += lower_.start[s];
        std::vector<std::int32_t> next(lower_.start.get(), lower_.start.get() + n_);
        for (std::int32_t s = 0; s < n_; ++s) {
            if (s % kBlock == 0) tick(4 * of_block_);
            for (std::int32_t p = upper_.start[s]; p < upper_.start[s + 1]; ++p) {
                const std::int32_t q = next[upper_.column[p]]++;
                lower_.column[q] = s;
                lower_.value[q] = upper_.value[p];
            }
        }
    }

    // K columns at once; `stride` numbers from one row of r and z to the next.
    template <int K> void solve(const double* r, double* z, std::int64_t stride) {
        const std::size_t size = static_cast<std::size_t>(n_) * K;
        Spare<Array<double>>::Lease work(
            work_, [&](const auto& known) { return known.size() >= size; },
            [&] { return std::make_unique<Array<double>>(size); });
        double* y = work->data();
        if (scattered_) {
            forward_scattered<K>(r, y, stride);
            backward<K, false>(y, z, stride);
        } else if (order_.empty()) {
            forward<K, false>(r, y, stride);
            backward<K, false>(y, z, stride);
        } else {
            forward<K, true>(r, y, stride);
            backward<K, true>(y, z, stride);
        }
    }

    template <int K, bool Permuted> void forward(const double* r, double* y, std::int64_t stride) {
        const std::int32_t *order = order_.data(), *start = lower_.start.get(), *column = lower_.column.get();
        const T* value = lower_.value.get();
        const double* scale = scale_.get();
        for (std::int32_t top = 0; top < n_; top = block_end(top)) {
            tick(of_block_);
            for (std::int32_t s = top, last = block_end(top); s < last; ++s) {
                const double* in = r + (Permuted ? order[s] : s) * stride;
                double sum[K];
                for (int c = 0; c < K; ++c) sum[c] = scale[s] * in[c];
                for (std::int32_t p = start[s], end = start[s + 1]; p < end; ++p) {
                    const double v = value[p];
                    const double* x = y + static_cast<std::int64_t>(column[p]) * K;
                    for (int c = 0; c < K; ++c) sum[c] -= v * x[c];
                }
                for (int c = 0; c < K; ++c) y[static_cast<std::int64_t>(s) * K + c] = sum[c];
            }
        }
    }

    // The same by columns: with rows of the upper triangle.
    template <int K> void forward_scattered(const double* r, double* y, std::int64_t stride) {
        const std::int32_t *start = upper_.start.get(), *column = upper_.column.get();
        const T* value = upper_.value.get();
        const double* scale = scale_.get();
        for (std::int32_t s = 0; s < n_; ++s)
            for (int c = 0; c < K; ++c) y[static_cast<std::int64_t>(s) * K + c] = scale[s] * r[s * stride + c];
        for (std::int32_t top = 0; top < n_; top = block_end(top)) {
            tick(of_block_);
            for (std::int32_t s = top, last = block_end(top); s < last; ++s) {
                double own[K];
                for (int c = 0; c < K; ++c) own[c] = y[static_cast<std::int64_t>(s) * K + c];
                for (std::int32_t p = start[s], end = start[s + 1]; p < end; ++p) {
                    const double v = value[p];
                    double* x = y + static_cast<std::int64_t>(column[p]) * K;
                    for (int c = 0; c < K; ++c) x[c] -= v * own[c];
                }
            }
        }
    }

    template <int K, bool Permuted> void backward(double* y, double* z, std::int64_t stride) {
        const std::int32_t *order = order_.data(), *start = upper_.start.get(), *column = upper_.column.get();
        const T* value = upper_.value.get();
        const double* scale = scale_.get();
        for (std::int32_t bottom = n_; bottom > 0; bottom = block_begin(bottom)) {
            tick(of_block_);
            for (std::int32_t s = bottom, first = block_begin(bottom); s-- > first;) {
                double sum[K];
                for (int c = 0; c < K; ++c) sum[c] = y[static_cast<std::int64_t>(s) * K + c];
                for (std::int32_t p = start[s + 1], begin = start[s]; p-- > begin;) {
                    const double v = value[p];
                    const double* x = y + static_cast<std::int64_t>(column[p]) * K;
                    for (int c = 0; c < K; ++c) sum[c] -= v * x[c];
                }
                double* out = z + (Permuted ? order[s] : s) * stride;
                for (int c = 0; c < K; ++c) {
                    y[static_cast<std::int64_t>(s) * K + c] = sum[c];
                    out[c] = scale[s] * sum[c];
                }
            }
        }
    }

    static constexpr std::int32_t kBlock = 1024;  // rows between two ticks
    std::int32_t n_;
    std::int64_t of_block_ = 0;  // operations
    bool scattered_;
    std::vector<std::int32_t> order_;
    Triangle<T> lower_, upper_;
    std::unique_ptr<double[]> scale_;
    Spare<Array<double>> work_;
};

}  // namespace

std::unique_ptr<IncompleteCholesky> make_incomplete_cholesky(IncompleteFactor&& factor, bool single) {
    IncompleteFactor f = std::move(factor);
    if (single) return std::make_unique<Substitution<float>>(std::move(f));
    return std::make_unique<Substitution<double>>(std::move(f));
}

}  // namespace nnla
