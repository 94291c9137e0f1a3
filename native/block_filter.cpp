#include "block_filter.hpp"

#include <algorithm>
#include <memory>

#include "interruption.hpp"
#include "steps.hpp"
#include "threads.hpp"

namespace nnla {
namespace {

constexpr std::int64_t kRowsPerPart = 4096;  // what a thread takes at a time
constexpr std::int64_t kRowsAtATime = 128;   // of a transposition: they stay in the first-level cache

void run(const BlockRows<float>& A, std::int64_t lo, std::int64_t hi, int columns, const BlockStep<float>& s) {
    isa().block->single(A, lo, hi, columns, s);
}
void run(const BlockRows<double>& A, std::int64_t lo, std::int64_t hi, int columns, const BlockStep<double>& s) {
    isa().block->full(A, lo, hi, columns, s);
}

// job(first row, last row) over n rows, in parts for the threads; `operations` of one row.
template <class F> void over_rows(std::int64_t n, std::int64_t operations, F job) {
    const std::int64_t parts = (n + kRowsPerPart - 1) / kRowsPerPart;
    const auto part = [&](int p) {
        FlushDenormals flush;
        const std::int64_t lo = p * kRowsPerPart, hi = std::min(n, lo + kRowsPerPart);
        tick((hi - lo) * operations);
        job(lo, hi);
    };
    if (parts <= 1)
        part(0);
    else
        parallel(static_cast<int>(parts), part);
}

template <class T>
void step(const BlockRows<T>& A, std::int64_t n, int columns, const BlockStep<T>& s) {
    const std::int64_t entries = n == 0 ? 0 : A.indptr[n] / n + 1;
    over_rows(n, entries * columns / 8 + 8, [&](std::int64_t lo, std::int64_t hi) { run(A, lo, hi, columns, s); });
}

// Vectors side by side: out(i, j) = scale_j X(j, i); columns without a vector are zero.
template <class T>
void interleave(const double* X, const double* scale, std::int64_t n, int vectors, int columns, T* out) {
    over_rows(n, columns, [&](std::int64_t lo, std::int64_t hi) {
        for (std::int64_t top = lo; top < hi; top += kRowsAtATime) {
            const std::int64_t end = std::min(hi, top + kRowsAtATime);
            for (int j = 0; j < columns; ++j) {
                const double* x = X + j * n;
                const double factor = j < vectors && scale != nullptr ? scale[j] : 1.0;
                if (j < vectors)
                    for (std::int64_t i = top; i < end; ++i) out[i * columns + j] = static_cast<T>(factor * x[i]);
                else
                    for (std::int64_t i = top; i < end; ++i) out[i * columns + j] = T(0);
            }
        }
    });
}

template <class T> void separate(const T* block, std::int64_t n, int vectors, int columns, double* X) {
    over_rows(n, columns, [&](std::int64_t lo, std::int64_t hi) {
        for (std::int64_t top = lo; top < hi; top += kRowsAtATime) {
            const std::int64_t end = std::min(hi, top + kRowsAtATime);
            for (int j = 0; j < vectors; ++j)
                for (std::int64_t i = top; i < end; ++i) X[j * n + i] = static_cast<double>(block[i * columns + j]);
        }
    });
}

// Columns of the next block where so many vectors are left.
int width(std::size_t left) { return left > 12 ? 16 : left > 4 ? 8 : 4; }

}  // namespace

BlockMatrix::BlockMatrix(std::int64_t n, const std::int32_t* indptr, const std::int32_t* indices, const double* values)
    : n_(n), rows_{indptr, indices, values}, single_(static_cast<std::size_t>(indptr[n])) {
    over_rows(n, 8, [&](std::int64_t lo, std::int64_t hi) {
        for (std::int32_t k = indptr[lo]; k < indptr[hi]; ++k)
            single_[static_cast<std::size_t>(k)] = static_cast<float>(values[k]);
    });
}

template <> Spare<BlockMatrix::Work<float>>& BlockMatrix::spare<float>() { return spare32_; }
template <> Spare<BlockMatrix::Work<double>>& BlockMatrix::spare<double>() { return spare64_; }
template <> BlockRows<double> BlockMatrix::rows<double>() const { return rows_; }
template <> BlockRows<float> BlockMatrix::rows<float>() const { return {rows_.indptr, rows_.indices, single_.data()}; }

template <class T> std::unique_ptr<BlockMatrix::Work<T>> BlockMatrix::work(int columns) const {
    auto made = std::make_unique<Work<T>>();
    const std::size_t size = static_cast<std::size_t>(n_) * static_cast<std::size_t>(columns);
    made->r = Array<T>(size);
    for (auto& z : made->z) z = Array<T>(size);
    return made;
}

void BlockMatrix::product(const double* X, double* Y, std::size_t vectors) {
    for (std::size_t from = 0; from < vectors;) {
        const int columns = width(vectors - from);
        const int used = static_cast<int>(std::min(vectors - from, static_cast<std::size_t>(columns)));
        const std::size_t size = static_cast<std::size_t>(n_) * static_cast<std::size_t>(columns);
        Spare<Work<double>>::Lease held(
            spare64_, [&](const auto& w) { return w.r.size() >= size; }, [&] { return work<double>(columns); });
        const std::size_t at = from * static_cast<std::size_t>(n_);
        double *c = held->z[0].data(), *out = held->z[1].data();
        interleave(X + at, nullptr, n_, used, columns, c);
        step(rows_, n_, columns, BlockStep<double>{0.0, 1.0, c, nullptr, nullptr, nullptr, out});
        separate(out, n_, used, columns, Y + at);
        from += static_cast<std::size_t>(used);
    }
}

template <class T>
void BlockMatrix::filter_as(const double* R, const double* scale, const double* gamma, double centre, double half,
                            double* W, std::size_t vectors, std::size_t degree) {
    const BlockRows<T> A = rows<T>();
    for (std::size_t from = 0; from < vectors;) {
        const int columns = width(vectors - from);
        const int used = static_cast<int>(std::min(vectors - from, static_cast<std::size_t>(columns)));
        const std::size_t size = static_cast<std::size_t>(n_) * static_cast<std::size_t>(columns);
        typename Spare<Work<T>>::Lease held(
            spare<T>(), [&](const auto& w) { return w.r.size() >= size; }, [&] { return work<T>(columns); });
        const std::size_t at = from * static_cast<std::size_t>(n_);
        T *r = held->r.data(), *c = held->z[0].data(), *out = held->z[1].data();
        interleave(R + at, scale + from, n_, used, columns, r);
        T coefficients[16] = {};
        const auto load = [&](std::size_t j) {
            for (int i = 0; i < used; ++i)
                coefficients[i] = static_cast<T>(gamma[j * vectors + from + static_cast<std::size_t>(i)]);
        };
        load(0);
        over_rows(n_, columns, [&](std::int64_t lo, std::int64_t hi) {
            for (std::int64_t i = lo; i < hi; ++i)
                for (int j = 0; j < columns; ++j) c[i * columns + j] = coefficients[j] * r[i * columns + j];
        });
        BlockStep<T> s{static_cast<T>(2 * centre / half), static_cast<T>(-2 / half), c, nullptr, r, coefficients, out};
        for (std::size_t j = 1; j < degree; ++j) {
            load(j);
            step(A, n_, columns, s);
            T* newest = s.out;
            s.out = const_cast<T*>(s.c);
            s.c = newest;
            s.old = s.out;
        }
        separate(s.c, n_, used, columns, W + at);
        from += static_cast<std::size_t>(used);
    }
}

void BlockMatrix::filter(const double* R, const double* scale, const double* gamma, double centre, double half,
                         double* W, std::size_t vectors, std::size_t degree, bool single) {
    if (single)
        filter_as<float>(R, scale, gamma, centre, half, W, vectors, degree);
    else
        filter_as<double>(R, scale, gamma, centre, half, W, vectors, degree);
}

}  // namespace nnla
