// Sweeps over the columns of a Lanczos basis, and the orthonormal basis of what a step leaves.
#include "basis.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <memory>
#include <vector>

#include "interruption.hpp"
#include "steps.hpp"

namespace nnla {
namespace {

using Long = std::int64_t;

constexpr Long kFold = 32;                // chunks whose sums are added up before they go to the others
constexpr Long kOperationsPerTick = 8;
constexpr double kEps = std::numeric_limits<double>::epsilon();
constexpr double kDependent = 1e-6;       // sine^2 of the angle below which rounding tells too much of a vector
constexpr double kCancelled = 1.0 / 32;   // of its length: what is left is not orthogonal to working precision
constexpr double kOrthonormal = 16 * kEps;  // of entries of a Gram matrix from those of the identity
constexpr Long kGroup = 8;  // rows that are taken away or left together
constexpr double kNearly = 0.1;  // from here Cholesky's factor makes it so

Long chunk_of(Long rows) { return rows > 96 ? kBasisChunk / 2 : kBasisChunk; }

// m x b sums over the columns, on three levels: long vectors of one sign lose no digits.
class Sums {
  public:
    Sums(Long entries, int lanes)
        : lanes_(lanes), part_(static_cast<std::size_t>(entries * lanes)), total_(part_.size()) {}

    double* part() { return part_.data(); }

    void end_chunk() {
        if (++chunks_ % kFold == 0) fold();
    }

    void write(double* out) {
        fold();
        for (std::size_t i = 0; i * static_cast<std::size_t>(lanes_) < total_.size(); ++i) {
            double* x = total_.data() + i * static_cast<std::size_t>(lanes_);
            for (int width = lanes_ / 2; width > 0; width /= 2)
                for (int l = 0; l < width; ++l) x[l] += x[l + width];
            out[i] = x[0];
        }
    }

  private:
    void fold() {
        for (std::size_t i = 0; i < part_.size(); ++i) total_[i] += part_[i];
        std::fill(part_.begin(), part_.end(), 0.0);
    }

    int lanes_;
    Long chunks_ = 0;
    std::vector<double> part_, total_;
};

// C (m, p) as the kernels read it.
std::vector<double> pack(const double* C, Long m, Long p) {
    std::vector<double> packed(static_cast<std::size_t>((p + 3) / 4 * m * 4));
    for (Long r = 0; r < m; ++r)
        for (Long i = 0; i < p; ++i) packed[static_cast<std::size_t>(((i / 4) * m + r) * 4 + i % 4)] = C[r * p + i];
    return packed;
}

// One pass over the columns: W is read, from columns X (n, b) if they are given; W -= H' V[from:to]; P = V[first:last] W';
// then, if `into` is given, those rows become C' W, and W stays as it was; G is the Gram matrix of the last result.
struct Sweep {
    const double* X = nullptr;
    Long from = 0, to = 0;
    const double* H = nullptr;
    const bool* needed = nullptr;  // of each kGroup rows, by default all
    Long first = 0, last = 0;
    double* P = nullptr;
    const double* C = nullptr;
    double* into = nullptr;
    double* G = nullptr;

    void run(const Rows& V, double* W, int b) const {
        const BasisKernels& kernels = basis_kernels();
        const Long n = V.n, chunk = chunk_of(std::max(to - from, last - first));
        Sums products((last - first) * b, kernels.lanes), gram(G == nullptr ? 0 : b * b, kernels.lanes);
        std::vector<double> packed, own, work;
        if (into != nullptr) {
            packed = pack(C, b, b);
            own.resize(static_cast<std::size_t>(b * chunk));
            work.resize(static_cast<std::size_t>(b * (chunk + kernels.tile)));
        }
        for (Long j = 0; j < n; j += chunk) {
            const Long columns = std::min(chunk, n - j);
            tick((to - from + last - first + b) * b * columns / kOperationsPerTick);
            double* w = W + j;
            Long ldw = n;
            if (X != nullptr) {
                const double* x = X + j * b;
                for (Long k = 0; k < columns; ++k)
                    for (Long c = 0; c < b; ++c) w[c * n + k] = x[k * b + c];
            }
            if (into != nullptr) {
                for (Long c = 0; c < b; ++c) std::copy(w + c * n, w + c * n + columns, own.data() + c * chunk);
                w = own.data();
                ldw = chunk;
            }
            for (Long r = from, end; r < to; r = end) {
                end = run_of(r);
                if (needed == nullptr || needed[(r - from) / kGroup])
                    kernels.subtract(V.data + r * n + j, n, end - r, H + (r - from) * b, w, ldw, b, columns);
            }
            if (last > first) {
                kernels.dots(V.data + first * n + j, n, last - first, w, ldw, b, columns, products.part());
                products.end_chunk();
            }
            if (into != nullptr) {
                kernels.combine(w, ldw, b, packed.data(), b, into + j, n, columns, work.data());
                w = into + j;
                ldw = n;
            }
            if (G != nullptr) {
                kernels.dots(w, ldw, b, w, ldw, b, columns, gram.part());
                gram.end_chunk();
            }
        }
        if (last > first) products.write(P);
        if (G != nullptr) gram.write(G);
    }

    // End of the rows from r on that are all needed, or all not.
    Long run_of(Long r) const {
        if (needed == nullptr) return to;
        Long g = (r - from) / kGroup;
        const bool kind = needed[g];
        while (from + g * kGroup < to && needed[g] == kind) ++g;
        return std::min(to, from + g * kGroup);
    }
};

// A small lower triangular matrix.
struct Triangle {
    int b = 0;
    double x[kBasisBlock][kBasisBlock] = {};

    // The factor of G (b, b); false where it is no Gram matrix of vectors well apart from each other.
    bool factor(const double* G, int size) {
        b = size;
        double length[kBasisBlock];
        for (int i = 0; i < b; ++i) {
            length[i] = std::sqrt(G[i * b + i]);
            if (!(length[i] > 0)) return false;
        }
        for (int j = 0; j < b; ++j)
            for (int i = j; i < b; ++i) {
                double sum = G[i * b + j] / length[i] / length[j];
                for (int k = 0; k < j; ++k) sum -= x[i][k] * x[j][k];
                if (i == j && !(sum > kDependent)) return false;
                x[i][j] = i == j ? std::sqrt(sum) : sum / x[j][j];
            }
        for (int i = 0; i < b; ++i)
            for (int j = 0; j <= i; ++j) x[i][j] *= length[i];
        return true;
    }

    Triangle times(const Triangle& other) const {
        Triangle out;
        out.b = b;
        for (int i = 0; i < b; ++i)
            for (int j = 0; j <= i; ++j)
                for (int k = j; k <= i; ++k) out.x[i][j] += x[i][k] * other.x[k][j];
        return out;
    }

    // C[r][i] of its inverse's rows i, for basis_combine.
    void inverse(double* C) const {
        std::fill(C, C + b * b, 0.0);
        for (int j = 0; j < b; ++j) {
            double column[kBasisBlock] = {};
            for (int i = j; i < b; ++i) {
                double sum = i == j ? 1.0 : 0.0;
                for (int k = j; k < i; ++k) sum -= x[i][k] * column[k];
                column[i] = sum / x[i][i];
                C[j * b + i] = column[i];
            }
        }
    }
};

bool finite(const double* x, Long count) {
    double sum = 0;
    for (Long i = 0; i < count; ++i) sum += x[i] * 0.0;
    return sum == 0;
}

double deviation(const double* G, int b) {
    double worst = 0;
    for (int i = 0; i < b; ++i)
        for (int j = 0; j < b; ++j) worst = std::max(worst, std::fabs(G[i * b + j] - (i == j ? 1.0 : 0.0)));
    return worst;
}

}  // namespace

const BasisKernels& basis_kernels() { return *isa().basis; }

void basis_products(const Rows& V, const Rows& W, double* H) {
    const BasisKernels& kernels = basis_kernels();
    const Long n = V.n, b = W.count, chunk = chunk_of(V.count);
    Sums sums(V.count * b, kernels.lanes);
    for (Long j = 0; j < n; j += chunk) {
        const Long columns = std::min(chunk, n - j);
        tick(V.count * b * columns / kOperationsPerTick);
        kernels.dots(V.data + j, n, V.count, W.data + j, n, static_cast<int>(b), columns, sums.part());
        sums.end_chunk();
    }
    sums.write(H);
}

void basis_subtract(const Rows& V, const double* H, double* W, int b) {
    Sweep sweep;
    sweep.to = V.count;
    sweep.H = H;
    sweep.run(V, W, b);
}

void basis_combine(const Rows& V, const double* C, Long p, double* out) {
    const BasisKernels& kernels = basis_kernels();
    const Long n = V.n, m = V.count, chunk = chunk_of(m);
    const std::vector<double> packed = pack(C, m, p);
    std::vector<double> work(static_cast<std::size_t>(m * (std::min(chunk, n) + kernels.tile)));
    for (Long j = 0; j < n; j += chunk) {
        const Long columns = std::min(chunk, n - j);
        tick(m * (p + 1) * columns / kOperationsPerTick);
        kernels.combine(V.data + j, n, m, packed.data(), p, out + j, n, columns, work.data());
    }
}

Extended basis_extend(const Rows& V, Long low, const double* X, double* W, int b, double scale, double negligible,
                      double* added, double* H, double* L, double* before) {
    constexpr int kEntries = static_cast<int>(kBasisBlock * kBasisBlock);
    const Long m = V.count;
    double G[kEntries], C[kEntries], length[kBasisBlock];
    std::vector<double> first(static_cast<std::size_t>((m - low) * b)), second(static_cast<std::size_t>(m * b));

    Sweep sweep;
    sweep.X = X;
    sweep.first = low;
    sweep.last = m;
    sweep.P = first.data();
    sweep.G = G;
    sweep.run(V, W, b);
    for (int c = 0; c < b; ++c) {
        before[c] = std::sqrt(G[c * b + c]);
        scale = std::max(scale, before[c]);
    }
    sweep.X = nullptr;
    sweep.from = low;
    sweep.to = m;
    sweep.H = first.data();
    sweep.first = 0;
    sweep.P = second.data();
    sweep.run(V, W, b);
    if (!finite(G, b * b) || !finite(second.data(), m * b)) return Extended::not_finite;
    for (int c = 0; c < b; ++c) length[c] = std::sqrt(G[c * b + c]);

    // What comes off now is rounding as a rule: the Gram matrix from before makes the rows nearly orthonormal, and rows
    // of V that they are orthogonal to already, to working precision, are not read again.
    Triangle total;
    const bool apart = total.factor(G, b);
    double least = apart ? total.x[0][0] : 0;
    for (int c = 1; apart && c < b; ++c) least = std::min(least, total.x[c][c]);
    const std::unique_ptr<bool[]> needed(new bool[static_cast<std::size_t>(m / kGroup + 1)]());
    for (Long i = 0; i < m * b; ++i)
        if (std::fabs(second[static_cast<std::size_t>(i)]) > kOrthonormal * least) needed[i / b / kGroup] = true;
    for (Long i = 0; i < m * b; ++i)
        if (!needed[i / b / kGroup]) second[static_cast<std::size_t>(i)] = 0;
    std::copy(second.begin(), second.end(), H);
    for (Long i = 0; i < (m - low) * b; ++i) H[low * b + i] += first[static_cast<std::size_t>(i)];
    sweep = Sweep();
    sweep.to = m;
    sweep.H = second.data();
    sweep.needed = needed.get();
    const auto dependent = [&] {
        sweep.C = nullptr;
        sweep.into = sweep.G = nullptr;
        sweep.run(V, W, b);
        return Extended::dependent;
    };
    if (!apart) return dependent();
    total.inverse(C);
    sweep.C = C;
    sweep.into = added;
    sweep.G = G;
    sweep.run(V, W, b);
    const auto orthonormalise = [&] {
        double off = deviation(G, b);
        for (int turn = 0; off > kOrthonormal && turn < 3; ++turn) {
            Triangle next;
            if (!next.factor(G, b)) return false;
            next.inverse(C);
            total = total.times(next);
            Sweep turned;
            turned.C = C;
            turned.into = added;
            turned.G = off > kNearly ? G : nullptr;
            turned.run(Rows{nullptr, 0, V.n}, added, b);
            off = turned.G == nullptr ? 0 : deviation(G, b);
        }
        return true;
    };
    if (!orthonormalise()) return dependent();

    // Once more where most of the rows was in the span of the basis, or of each other.
    std::vector<double> rest, more;
    for (int turn = 0;; ++turn) {
        double worst = 1;
        for (int c = 0; c < b; ++c) {
            worst = std::min(worst, total.x[c][c] / length[c]);
            length[c] = total.x[c][c];
        }
        if (worst >= kCancelled) break;
        if (turn == 3) return dependent();
        rest.resize(static_cast<std::size_t>(m * b));
        more.resize(rest.size());
        Sweep project;
        project.last = m;
        project.P = rest.data();
        project.run(V, added, b);
        for (Long r = 0; r < m; ++r)
            for (int c = 0; c < b; ++c)
                for (int k = 0; k <= c; ++k)
                    more[static_cast<std::size_t>(r * b + c)] +=
                        rest[static_cast<std::size_t>(r * b + k)] * total.x[c][k];
        project = Sweep();
        project.to = m;
        project.H = rest.data();
        project.G = G;
        project.run(V, added, b);
        if (!orthonormalise()) return dependent();
    }
    for (int c = 0; c < b; ++c)
        if (!(total.x[c][c] > negligible * scale)) return dependent();
    for (std::size_t i = 0; i < more.size(); ++i) H[i] += more[i];
    for (int i = 0; i < b; ++i)
        for (int j = 0; j < b; ++j) L[i * b + j] = j <= i ? total.x[i][j] : 0.0;
    return Extended::done;
}

void basis_squares(const Rows& X, const double* f, const Rows& Y, double* out) {
    constexpr int kParts = 8;
    for (Long i = 0; i < X.count; ++i) {
        const double *x = X.data + i * X.n, *y = Y.data + i * X.n, factor = f[i];
        Sums sums(1, kParts);
        for (Long j = 0; j < X.n; j += kBasisChunk) {
            const Long columns = std::min(kBasisChunk, X.n - j), whole = columns / kParts * kParts;
            tick(columns / 4);
            double part[kParts] = {};
            for (Long k = j; k < j + whole; k += kParts)
                for (int l = 0; l < kParts; ++l) {
                    const double r = factor != 0 ? x[k + l] - factor * y[k + l] : x[k + l];
                    part[l] += r * r;
                }
            for (Long k = j + whole; k < j + columns; ++k) {
                const double r = factor != 0 ? x[k] - factor * y[k] : x[k];
                part[0] += r * r;
            }
            for (int l = 0; l < kParts; ++l) sums.part()[l] += part[l];
            sums.end_chunk();
        }
        sums.write(out + i);
    }
}

void transpose(const double* in, Long rows, Long columns, double* out) {
    constexpr Long wide = 64;  // columns at a time: as many lines of what is written stay at hand
    for (Long j = 0; j < columns; j += wide) {
        const Long end = std::min(columns, j + wide);
        tick(rows * (end - j));
        for (Long i = 0; i < rows; i += kBasisBlock) {
            const Long last = std::min(rows, i + kBasisBlock);
            if (last - i == 4) {  // the usual block
                const double* x = in + i * columns;
                for (Long k = j; k < end; ++k)
                    for (Long q = 0; q < 4; ++q) out[k * rows + i + q] = x[q * columns + k];
            } else {
                for (Long k = j; k < end; ++k)
                    for (Long q = i; q < last; ++q) out[k * rows + q] = in[q * columns + k];
            }
        }
    }
}

}  // namespace nnla
