#include "coarsening.hpp"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <memory>
#include <stdexcept>
#include <utility>

#include "interruption.hpp"
#include "threads.hpp"

namespace nnla {
namespace {

// Below this many entries a second thread costs more than it saves.
constexpr std::int64_t kSerial = 100000;

CsrView view(const CsrArrays& A, std::int64_t columns) {
    return {static_cast<std::int64_t>(A.indptr.size()) - 1, columns, A.indptr.data(), A.indices.data(), A.data.data()};
}

std::int32_t checked(std::size_t nnz) {
    if (nnz > 0x7fffffff) throw std::overflow_error("a level of the hierarchy has more than 2^31 entries");
    return static_cast<std::int32_t>(nnz);
}

// Entries under way: room that grows without being filled, unlike std::vector's.
struct Room {
    std::unique_ptr<std::int32_t[]> indices;
    std::unique_ptr<double[]> data;
    std::size_t size = 0, capacity = 0;

    void need(std::size_t more) {
        if (size + more <= capacity) return;
        const std::size_t wanted = std::max(size + more, capacity + capacity / 2);
        std::unique_ptr<std::int32_t[]> j(new std::int32_t[wanted]);
        std::unique_ptr<double[]> a(new double[wanted]);
        if (size > 0) {
            std::memcpy(j.get(), indices.get(), size * sizeof(std::int32_t));
            std::memcpy(a.get(), data.get(), size * sizeof(double));
        }
        indices = std::move(j);
        data = std::move(a);
        capacity = wanted;
    }
};

struct Product {
    std::vector<std::int32_t> indptr;
    Room room;
};

// C = A B row by row (Gustavson). Whether a column is new to its row is as good as random: no branch depends on it.
Product multiply_rows(const CsrView& A, const CsrView& B, std::int64_t first, std::int64_t last, std::size_t expected) {
    Product C;
    C.indptr.resize(static_cast<std::size_t>(last - first) + 1);
    C.indptr[0] = 0;
    C.room.need(expected);
    // Where column j of the row under way is stored; positions of earlier rows are smaller than its start.
    std::vector<std::int32_t> place(static_cast<std::size_t>(B.columns), -1);
    std::int32_t* at = place.data();
    Ticker ticker;
    for (std::int64_t i = first; i < last; ++i) {
        const std::int32_t begin = A.indptr[i], end = A.indptr[i + 1];
        std::size_t most = 0;
        for (std::int32_t p = begin; p < end; ++p) most += B.indptr[A.indices[p] + 1] - B.indptr[A.indices[p]];
        ticker(static_cast<std::int64_t>(most) + 16);
        checked(C.room.size + most);
        C.room.need(most + 1);
        std::int32_t* indices = C.room.indices.get();
        double* data = C.room.data.get();
        const auto start = static_cast<std::int32_t>(C.room.size);
        std::int32_t size = start;
        for (std::int32_t p = begin; p < end; ++p) {
            const double a = A.data[p];
            const std::int32_t k = A.indices[p], stop = B.indptr[k + 1];
            for (std::int32_t q = B.indptr[k]; q < stop; ++q) {
                const std::int32_t j = B.indices[q], known = at[j];
                const bool fresh = known < start;
                const std::int32_t here = fresh ? size : known;
                const double before = fresh ? 0.0 : data[here];
                data[here] = before + a * B.data[q];
                indices[here] = j;
                at[j] = here;
                size += fresh;
            }
        }
        C.room.size = static_cast<std::size_t>(size);
        C.indptr[i - first + 1] = size;
    }
    return C;
}

// The same on several threads; rows do not depend on one another, so the result does not depend on the threads.
Product multiply(const CsrView& A, const CsrView& B, std::size_t expected) {
    const int parts = A.nnz() < kSerial ? 1 : max_threads();
    if (parts == 1) return multiply_rows(A, B, 0, A.rows, expected);
    std::vector<Product> pieces(static_cast<std::size_t>(parts));
    parallel(parts, [&](int part) {
        pieces[part] = multiply_rows(A, B, A.rows * part / parts, A.rows * (part + 1) / parts, expected / parts + 1);
    });
    std::size_t total = 0;
    for (const Product& piece : pieces) total += piece.room.size;
    checked(total);
    Product C;
    C.room.need(total + 1);
    C.indptr.reserve(static_cast<std::size_t>(A.rows) + 1);
    C.indptr.push_back(0);
    for (const Product& piece : pieces) {
        const auto before = static_cast<std::int32_t>(C.room.size);
        std::copy_n(piece.room.indices.get(), piece.room.size, C.room.indices.get() + before);
        std::copy_n(piece.room.data.get(), piece.room.size, C.room.data.get() + before);
        for (std::size_t k = 1; k < piece.indptr.size(); ++k) C.indptr.push_back(before + piece.indptr[k]);
        C.room.size += piece.room.size;
    }
    return C;
}

CsrView view(const Product& A, std::int64_t columns) {
    return {static_cast<std::int64_t>(A.indptr.size()) - 1, columns, A.indptr.data(), A.room.indices.get(),
            A.room.data.get()};
}

// Operations for a row of A, for the ticks.
std::int64_t entries_of(const CsrView& A, std::int64_t i) { return A.indptr[i + 1] - A.indptr[i] + 8; }

std::vector<double> diagonal(const CsrView& A) {
    std::vector<double> d(static_cast<std::size_t>(A.rows), 0.0);
    Ticker ticker;
    for (std::int64_t i = 0; i < A.rows; ++i) {
        ticker(entries_of(A, i));
        for (std::int32_t k = A.indptr[i]; k < A.indptr[i + 1]; ++k)
            if (A.indices[k] == i) d[i] += A.data[k];
    }
    return d;
}

}  // namespace

CsrArrays transpose(const CsrView& A) {
    CsrArrays B;
    const auto nnz = static_cast<std::size_t>(A.nnz());
    B.indptr.assign(static_cast<std::size_t>(A.columns) + 1, 0);
    B.indices.resize(nnz);
    if (A.data != nullptr) B.data.resize(nnz);
    for (std::size_t k = 0; k < nnz; ++k) {
        if (k % 65536 == 0) tick(4 * 65536);
        ++B.indptr[A.indices[k] + 1];
    }
    for (std::int64_t j = 0; j < A.columns; ++j) B.indptr[j + 1] += B.indptr[j];
    std::vector<std::int32_t> next(B.indptr.begin(), B.indptr.end() - 1);
    Ticker ticker;
    for (std::int64_t i = 0; i < A.rows; ++i) {
        ticker(4 * entries_of(A, i));
        for (std::int32_t k = A.indptr[i]; k < A.indptr[i + 1]; ++k) {
            const std::int32_t at = next[A.indices[k]]++;
            B.indices[at] = static_cast<std::int32_t>(i);
            if (A.data != nullptr) B.data[at] = A.data[k];
        }
    }
    return B;
}

Traits traits(const CsrView& A, double theta) {
    std::vector<double> s = diagonal(A);
    for (double& x : s) x = 1.0 / std::sqrt(std::abs(x));
    double positive = 0, total = 0;
    std::int64_t weak = 0, entries = 0, uniform = 0;
    Ticker ticker;
    for (std::int64_t i = 0; i < A.rows; ++i) {
        ticker(entries_of(A, i));
        double smallest = HUGE_VAL, largest = 0;
        for (std::int32_t k = A.indptr[i]; k < A.indptr[i + 1]; ++k) {
            const std::int32_t j = A.indices[k];
            const double a = A.data[k];
            if (j == i || a == 0) continue;
            const double size = std::abs(a) * s[i] * s[j];
            total += size;
            if (a > 0) positive += size;
            weak += size < theta;
            ++entries;
            smallest = std::min(smallest, std::abs(a));
            largest = std::max(largest, std::abs(a));
        }
        uniform += smallest >= 0.9 * largest;
    }
    Traits t;
    t.positive = total > 0 ? positive / total : 0.0;
    t.weak = entries > 0 ? static_cast<double>(weak) / static_cast<double>(entries) : 0.0;
    t.uniform = A.rows > 0 ? static_cast<double>(uniform) / static_cast<double>(A.rows) : 1.0;
    return t;
}

CsrArrays symmetric_strength(const CsrView& A, double theta, int block) {
    CsrArrays C;
    Ticker ticker;
    const double factor = theta * theta;
    C.indptr.push_back(0);
    if (block == 1) {
        const std::vector<double> d = diagonal(A);
        for (std::int64_t i = 0; i < A.rows; ++i) {
            ticker(entries_of(A, i));
            for (std::int32_t k = A.indptr[i]; k < A.indptr[i + 1]; ++k) {
                const std::int32_t j = A.indices[k];
                if (j != i && A.data[k] * A.data[k] >= factor * std::abs(d[i] * d[j]) && A.data[k] != 0)
                    C.indices.push_back(j);
            }
            C.indptr.push_back(checked(C.indices.size()));
        }
        return C;
    }
    const std::int64_t nodes = A.rows / block;
    CsrArrays N;  // squared Frobenius norms
    N.indptr.push_back(0);
    std::vector<double> d(static_cast<std::size_t>(nodes), 0.0);
    std::vector<std::int32_t> place(static_cast<std::size_t>(nodes), -1);
    for (std::int64_t I = 0; I < nodes; ++I) {
        const std::int32_t start = N.indptr.back();
        ticker(A.indptr[(I + 1) * block] - A.indptr[I * block] + 8);
        for (std::int32_t k = A.indptr[I * block]; k < A.indptr[(I + 1) * block]; ++k) {
            const std::int32_t J = A.indices[k] / block;
            const double square = A.data[k] * A.data[k];
            if (J == I) {
                d[I] += square;
            } else if (place[J] < start) {
                place[J] = static_cast<std::int32_t>(N.indices.size());
                N.indices.push_back(J);
                N.data.push_back(square);
            } else {
                N.data[place[J]] += square;
            }
        }
        N.indptr.push_back(checked(N.indices.size()));
    }
    for (std::int64_t I = 0; I < nodes; ++I) {
        for (std::int32_t k = N.indptr[I]; k < N.indptr[I + 1]; ++k)
            if (N.data[k] >= factor * std::sqrt(d[I]) * std::sqrt(d[N.indices[k]]) && N.data[k] != 0)
                C.indices.push_back(N.indices[k]);
        C.indptr.push_back(checked(C.indices.size()));
    }
    return C;
}

double balancing_signs(const CsrView& A, double theta, double* signs) {
    const CsrArrays C = classical_strength(A, theta);
    std::fill(signs, signs + A.rows, 0.0);
    Ticker ticker;
    std::vector<std::int32_t> queue;
    queue.reserve(static_cast<std::size_t>(A.rows));
    // The entries of C are a subsequence of those of A: both are walked at once.
    for (std::int64_t root = 0; root < A.rows; ++root) {
        if (signs[root] != 0) continue;
        signs[root] = 1.0;
        std::size_t head = queue.size();
        queue.push_back(static_cast<std::int32_t>(root));
        for (; head < queue.size(); ++head) {
            const std::int32_t i = queue[head];
            ticker(2 * entries_of(A, i));
            std::int32_t k = A.indptr[i];
            for (std::int32_t q = C.indptr[i]; q < C.indptr[i + 1]; ++q, ++k) {
                const std::int32_t j = C.indices[q];
                while (A.indices[k] != j) ++k;
                if (signs[j] != 0) continue;
                signs[j] = A.data[k] < 0 ? signs[i] : -signs[i];
                queue.push_back(j);
            }
        }
    }
    const std::vector<double> d = diagonal(A);
    double positive = 0, total = 0;
    for (std::int64_t i = 0; i < A.rows; ++i)
        for (std::int32_t k = A.indptr[i]; k < A.indptr[i + 1]; ++k) {
            const std::int32_t j = A.indices[k];
            if (j == i) continue;
            const double a = signs[i] * signs[j] * A.data[k] / std::sqrt(std::abs(d[i] * d[j]));
            total += std::abs(a);
            if (a > 0) positive += a;
        }
    return total > 0 ? positive / total : 0.0;
}

CsrArrays classical_strength(const CsrView& A, double theta) {
    CsrArrays C;
    C.indptr.reserve(static_cast<std::size_t>(A.rows) + 1);
    C.indices.reserve(static_cast<std::size_t>(A.nnz()));
    C.indptr.push_back(0);
    Ticker ticker;
    for (std::int64_t i = 0; i < A.rows; ++i) {
        ticker(2 * entries_of(A, i));
        double largest = 0;
        for (std::int32_t k = A.indptr[i]; k < A.indptr[i + 1]; ++k)
            if (A.indices[k] != i) largest = std::max(largest, std::abs(A.data[k]));
        const double bound = theta * largest;
        if (largest > 0)
            for (std::int32_t k = A.indptr[i]; k < A.indptr[i + 1]; ++k)
                if (A.indices[k] != i && std::abs(A.data[k]) >= bound) C.indices.push_back(A.indices[k]);
        C.indptr.push_back(checked(C.indices.size()));
    }
    return C;
}

CsrArrays smoothed_prolongator(const CsrView& A, const CsrView& strength, int block, const std::int32_t* aggregate,
                               const double* candidate) {
    CsrArrays P;
    P.indptr.reserve(static_cast<std::size_t>(A.rows) + 1);
    P.indptr.push_back(0);
    std::int32_t columns = 0;
    for (std::int64_t i = 0; i < A.rows; ++i) columns = std::max(columns, aggregate[i] + 1);
    std::vector<std::int32_t> place(static_cast<std::size_t>(columns), -1);
    std::vector<std::int32_t> strong(static_cast<std::size_t>(strength.rows), -1);
    P.indices.resize(static_cast<std::size_t>(A.nnz() + A.rows) + 1);
    P.data.resize(P.indices.size());
    std::int32_t stored = 0;
    const auto add = [&](std::int32_t column, double value, std::int32_t start) {
        const std::int32_t known = place[column];
        const bool fresh = known < start;
        const std::int32_t here = fresh ? stored : known;
        P.data[here] = (fresh ? 0.0 : P.data[here]) + value;
        P.indices[here] = column;
        place[column] = here;
        stored += fresh;
    };
    checked(P.indices.size());
    Ticker ticker;
    for (std::int64_t i = 0; i < A.rows; ++i) {
        ticker(2 * entries_of(A, i));
        const std::int32_t start = P.indptr.back();
        const auto I = static_cast<std::int32_t>(i / block);
        for (std::int32_t k = strength.indptr[I]; k < strength.indptr[I + 1]; ++k) strong[strength.indices[k]] = I;
        strong[I] = I;
        double d = 0, dropped = 0, size = 0;
        for (std::int32_t k = A.indptr[i]; k < A.indptr[i + 1]; ++k) {
            const std::int32_t j = A.indices[k];
            if (j == i) {
                d += A.data[k];
            } else if (strong[j / block] == I) {
                size += std::abs(A.data[k]);
            } else {
                dropped += A.data[k] * candidate[j];
            }
        }
        const double lumped = d + (candidate[i] != 0 ? dropped / candidate[i] : 0.0);
        // A lumped diagonal far from the diagonal says that the entries dropped mattered: keep the diagonal.
        if (lumped > 0.1 * d && lumped < 10 * d) d = lumped;
        const double weight = 4.0 / 3.0 / (size + std::abs(d));
        for (std::int32_t k = A.indptr[i]; k < A.indptr[i + 1]; ++k) {
            const std::int32_t j = A.indices[k];
            if (j != i && aggregate[j] >= 0 && strong[j / block] == I)
                add(aggregate[j], -weight * A.data[k] * candidate[j], start);
        }
        if (aggregate[i] >= 0) add(aggregate[i], (1 - weight * d) * candidate[i], start);
        P.indptr.push_back(stored);
    }
    P.indices.resize(static_cast<std::size_t>(stored));
    P.data.resize(static_cast<std::size_t>(stored));
    return P;
}

CsrArrays classical_prolongator(const CsrView& A, const CsrView& strength, const std::int32_t* splitting) {
    const std::int64_t n = A.rows;
    CsrArrays P;
    P.indptr.reserve(static_cast<std::size_t>(n) + 1);
    P.indptr.push_back(0);
    std::vector<std::int32_t> number(static_cast<std::size_t>(n), -1);
    std::int32_t columns = 0;
    for (std::int64_t i = 0; i < n; ++i)
        if (splitting[i]) number[i] = columns++;
    const std::vector<double> d = diagonal(A);
    std::vector<std::pair<std::int32_t, double>> hits;
    // place[j] >= start: where the weight of the C-point j of this row is; strong[j] == i: j is a strong F-point.
    std::vector<std::int32_t> place(static_cast<std::size_t>(n), -1), strong(static_cast<std::size_t>(n), -1);
    Ticker ticker;
    for (std::int64_t i = 0; i < n; ++i) {
        const std::int32_t start = P.indptr.back();
        ticker(8);
        if (splitting[i]) {
            P.indices.push_back(number[i]);
            P.data.push_back(1.0);
            P.indptr.push_back(checked(P.indices.size()));
            continue;
        }
        const auto row = static_cast<std::int32_t>(i);
        for (std::int32_t k = strength.indptr[i]; k < strength.indptr[i + 1]; ++k) {
            const std::int32_t j = strength.indices[k];
            if (splitting[j]) {
                place[j] = static_cast<std::int32_t>(P.indices.size());
                P.indices.push_back(number[j]);
                P.data.push_back(0.0);
            } else {
                strong[j] = row;
            }
        }
        double denominator = d[i];
        for (std::int32_t k = A.indptr[i]; k < A.indptr[i + 1]; ++k) {
            const std::int32_t j = A.indices[k];
            const double a = A.data[k];
            if (j == i) continue;
            if (splitting[j] && place[j] >= start) {
                P.data[place[j]] += a;
                continue;
            }
            if (!splitting[j] && strong[j] == row) {
                // Distribute over the common C-points, by the entries of row j of the sign that couples. Only
                // strong C-points of row i have a place in it; no branch depends on the search.
                const std::int32_t begin = A.indptr[j], end = A.indptr[j + 1];
                if (hits.size() < static_cast<std::size_t>(end - begin) + 1) hits.resize(static_cast<std::size_t>(end - begin) + 1);
                std::size_t count = 0;
                double sum = 0;
                ticker(end - begin);
                for (std::int32_t q = begin; q < end; ++q) {
                    const std::int32_t at = place[A.indices[q]];
                    const bool hit = at >= start && A.data[q] * d[j] < 0;
                    hits[count] = {at, A.data[q]};
                    count += hit;
                    sum += hit ? A.data[q] : 0.0;
                }
                if (sum != 0) {
                    const double share = a / sum;
                    for (std::size_t h = 0; h < count; ++h) P.data[hits[h].first] += share * hits[h].second;
                    continue;
                }
            }
            denominator += a;
        }
        // A lumped diagonal that is lost to cancellation would make huge weights.
        if (!(denominator > 1e-3 * d[i])) denominator = d[i];
        for (std::size_t k = static_cast<std::size_t>(start); k < P.data.size(); ++k) P.data[k] /= -denominator;
        P.indptr.push_back(checked(P.indices.size()));
    }
    return P;
}

CsrArrays galerkin(const CsrView& A, const CsrView& P) {
    const CsrArrays R = transpose(P);
    const Product AP = multiply(A, P, static_cast<std::size_t>(A.nnz()));
    const Product C = multiply(view(R, P.rows), view(AP, P.columns), static_cast<std::size_t>(AP.room.size));
    return transpose(view(C, P.columns));  // symmetric: the transpose is the same with its columns sorted
}

}  // namespace nnla
