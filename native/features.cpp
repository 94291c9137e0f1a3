#include "features.hpp"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <vector>

#include "interruption.hpp"
#include "levels.hpp"
#include "ordering.hpp"
#include "sliced.hpp"

namespace nnla {
namespace {

constexpr std::int64_t kSampled = 512;      // rows whose values are looked at, of a large matrix
constexpr std::int64_t kEntries = 5000, kFewEntries = 2500;  // entries of these, with the graph and without
constexpr std::int64_t kChunk = 16;         // rows that follow one another in the sample
constexpr std::int64_t kBall = 600;         // rows of a ball, at most
constexpr std::int64_t kBallEntries = 6000;    // entries that are worth a look in one
constexpr int kBalls = 3;
constexpr std::int64_t kPeeled = 1000;      // rows up to which cores are those of the whole graph, not of the balls
constexpr std::int64_t kOrdered = 30'000;   // rows from which on the fill of balls is found
constexpr std::int32_t kSmallBall = 300, kLargeBall = 1200;
constexpr std::int64_t kSlices = 12, kFewest = 3;  // slices that runs are looked for in
constexpr std::int64_t kSliceEntries = 3000;  // of these, as far as the fewest allow
constexpr double kTiny = 1e-15;

// The logarithm to a thousandth, in a fraction of the time of the library's.
double quick_log(double x) {
    std::uint64_t bits;
    std::memcpy(&bits, &x, sizeof bits);
    const double exponent = static_cast<double>(static_cast<std::int64_t>((bits >> 52) & 0x7ff) - 1023);
    bits = (bits & 0xfffffffffffffull) | 0x3ff0000000000000ull;
    double m;
    std::memcpy(&m, &bits, sizeof m);  // in [1, 2)
    const double z = m - 1.0;
    const double log2 = z * (1.4350 + z * (-0.6803 + z * (0.3241 - z * 0.0788)));
    return 0.6931471805599453 * (exponent + log2);
}

double logarithm(double x) { return std::log(std::max(x, kTiny)); }

struct Moments {
    double count = 0, sum = 0, squares = 0;
    void add(double v) { count += 1, sum += v, squares += v * v; }
    double mean() const { return count > 0 ? sum / count : 0; }
    double spread() const { return count > 0 ? std::sqrt(std::max(0.0, squares / count - mean() * mean())) : 0; }
};

void row_features(const FeatureMatrix& A, double* out) {
    const double n = static_cast<double>(A.n), nnz = static_cast<double>(A.indptr[A.n]);
    std::int64_t longest = 0, leaves = 0, chains = 0;
    double squares = 0;
    for (std::int64_t i = 0; i < A.n; ++i) {
        const std::int64_t length = A.indptr[i + 1] - A.indptr[i];
        longest = std::max(longest, length);
        leaves += length <= 2;
        chains += length == 3;
        squares += static_cast<double>(length) * static_cast<double>(length);
    }
    const double mean = std::max(nnz / n, 1e-3);
    out[kLogRows] = std::log(n);
    out[kLogRowLength] = std::log(mean);
    out[kLongestRow] = std::log(std::max<double>(static_cast<double>(longest), 1) / mean);
    out[kRowSpread] = std::log1p(std::sqrt(std::max(0.0, squares / n - mean * mean)) / mean);
    out[kLeaves] = static_cast<double>(leaves) / n;
    out[kChains] = static_cast<double>(chains) / n;
}

bool same_columns(const FeatureMatrix& A, std::int64_t i, std::int64_t j) {
    const std::int32_t length = A.indptr[i + 1] - A.indptr[i];
    if (A.indptr[j + 1] - A.indptr[j] != length) return false;
    return std::equal(A.indices + A.indptr[i], A.indices + A.indptr[i + 1], A.indices + A.indptr[j]);
}

// Whether all columns of the sampled rows lie in the matrix.
bool value_features(const FeatureMatrix& A, std::int64_t most, double* out) {
    const std::int64_t rows_wanted = std::max(2 * kChunk, std::min(kSampled, most * A.n / std::max(1, A.indptr[A.n])));
    const bool all = A.n <= rows_wanted;
    const std::int64_t chunks = all ? 1 : rows_wanted / kChunk;
    Moments weights, anisotropy, slack, sums, profile, diagonal;
    double positive = 0, total = 0, bandwidth = 0, radius = 0, strongest = 0;
    double low = A.diagonal[0], high = low;
    double entries = 0, trace = 0;
    const double unit = quick_log(std::max(A.diagonal[0], 1e-300));  // else the spread would round in large units
    std::int64_t rows = 0, grounded = 0, merged = 0;
    for (std::int64_t c = 0; c < chunks; ++c) {
        const std::int64_t first = c * A.n / chunks, end = all ? A.n : std::min(A.n, first + kChunk);
        for (std::int64_t i = first; i < end; ++i) {
            const double pivot = A.diagonal[i], root = 1.0 / std::sqrt(pivot);
            double off = 0, signed_off = 0, scaled = 0, largest = 0;
            for (std::int32_t k = A.indptr[i]; k < A.indptr[i + 1]; ++k) {
                const std::int32_t j = A.indices[k];
                if (j < 0 || j >= A.n) return false;
                if (j == i || A.data[k] == 0) continue;
                const double value = A.data[k], size = std::fabs(value);
                const double c_ij = size * root / std::sqrt(A.diagonal[j]);
                off += size;
                signed_off += value;
                scaled += c_ij;
                largest = std::max(largest, c_ij);
                weights.add(quick_log(std::max(c_ij, 1e-300)));
                positive += value > 0 ? c_ij : 0.0;
                bandwidth = std::max(bandwidth, std::fabs(static_cast<double>(j - i)));
            }
            const std::int32_t length = A.indptr[i + 1] - A.indptr[i];
            if (length > 0) profile.add(quick_log(1.0 + std::max<double>(0, static_cast<double>(i - A.indices[A.indptr[i]]))));
            if (length > 1 && scaled > 0) anisotropy.add(quick_log(largest * (length - 1) / scaled));
            total += scaled;
            const double free = 1.0 - off / pivot;
            slack.add(std::max(free, 0.0));
            grounded += free > 1e-10;
            sums.add(std::fabs(1.0 + signed_off / pivot));
            entries += pivot + signed_off;
            trace += pivot;
            radius = std::max(radius, scaled);
            strongest = std::max(strongest, largest);
            diagonal.add(quick_log(std::max(pivot, 1e-300)) - unit);
            low = std::min(low, pivot), high = std::max(high, pivot);
            merged += i > 0 && same_columns(A, i, i - 1);
            ++rows;
        }
        tick(16 * 64);
    }
    const double n = static_cast<double>(A.n), m = static_cast<double>(std::max<std::int64_t>(rows, 1));
    out[kBandwidth] = std::log((bandwidth + 1) / n);
    out[kProfile] = profile.mean() / std::log(n + 1.7);
    out[kPositive] = total > 0 ? positive / total : 0;
    out[kSlack] = logarithm(slack.mean());
    out[kUngrounded] = 1.0 - static_cast<double>(grounded) / m;
    out[kRowSums] = logarithm(sums.mean());
    out[kConstantVector] = logarithm(std::fabs(entries) / std::max(trace, 1e-300));
    out[kRadius] = logarithm(radius);
    out[kWeightMean] = weights.mean();
    out[kWeightSpread] = weights.spread();
    out[kStrongest] = std::log(std::max(1e-6, 1.0 - std::min(strongest, 1.0)));
    out[kAnisotropy] = anisotropy.mean();
    out[kDiagonalRange] = std::log(high / std::max(low, 1e-300));
    out[kDiagonalSpread] = diagonal.spread();
    out[kMerged] = static_cast<double>(merged) / m;
    const double slice = kLanes * static_cast<double>(std::max(1, A.indptr[A.n])) / n;
    const auto affordable = static_cast<std::int64_t>(kSliceEntries / slice);
    out[kRuns] = sampled_run_share(Csr{A.n, A.indptr, A.indices, nullptr}, std::clamp(affordable, kFewest, kSlices));
    return true;
}

// Breadth-first search from a row until so many rows are found; `mark` of theirs is `stamp`.
struct Search {
    const FeatureMatrix& A;
    std::vector<std::int32_t> mark, queue;
    std::vector<std::int32_t> level_ends;
    std::int32_t stamp = 0;

    explicit Search(const FeatureMatrix& matrix) : A(matrix), mark(static_cast<std::size_t>(matrix.n), 0) {}

    void run(std::int32_t start, std::int32_t most) {
        ++stamp;
        queue.assign(1, start);
        level_ends.assign(1, 1);
        mark[static_cast<std::size_t>(start)] = stamp;
        std::size_t at = 0;
        Ticker ticker;
        while (at < queue.size() && static_cast<std::int32_t>(queue.size()) < most) {
            const std::size_t level_end = queue.size();
            for (; at < level_end && static_cast<std::int32_t>(queue.size()) < most; ++at) {
                const std::int32_t row = queue[at];
                ticker(4 * (A.indptr[row + 1] - A.indptr[row]) + 8);
                for (std::int32_t k = A.indptr[row]; k < A.indptr[row + 1]; ++k) {
                    std::int32_t& seen = mark[static_cast<std::size_t>(A.indices[k])];
                    if (seen == stamp || static_cast<std::int32_t>(queue.size()) >= most) continue;
                    seen = stamp;
                    queue.push_back(A.indices[k]);
                }
            }
            if (queue.size() > level_end) level_ends.push_back(static_cast<std::int32_t>(queue.size()));
        }
    }
};

struct Cores {
    double two = 0, three = 0, five = 0, logarithms = 0, rows = 0;
    std::int32_t largest = 0;

    void write(double* out) const {
        const double size = std::max(rows, 1.0);
        out[kCore2] = two / size, out[kCore3] = three / size, out[kCore5] = five / size;
        out[kLargestCore] = std::log1p(largest);
        out[kMeanCore] = logarithms / size;
    }
};

// Core numbers by peeling (Batagelj and Zaversnik, 2003) of some rows, numbered by `local` (null: all rows); their
// neighbours among the others stay. `local` is -1 for these, and again for all in the end.
void peel(const FeatureMatrix& A, const std::vector<std::int32_t>& rows, std::int32_t* local, Cores& cores) {
    const std::size_t m = rows.size();
    if (local)
        for (std::size_t k = 0; k < m; ++k) local[rows[k]] = static_cast<std::int32_t>(k);
    std::vector<std::int32_t> degree(m), position(m), sorted(m);
    std::int32_t most = 0;
    for (std::size_t k = 0; k < m; ++k) {
        degree[k] = std::max(0, A.indptr[rows[k] + 1] - A.indptr[rows[k]] - 1);
        most = std::max(most, degree[k]);
    }
    std::vector<std::int32_t> bin(static_cast<std::size_t>(most) + 2, 0);
    for (std::size_t k = 0; k < m; ++k) ++bin[static_cast<std::size_t>(degree[k]) + 1];
    for (std::size_t d = 1; d < bin.size(); ++d) bin[d] += bin[d - 1];
    std::vector<std::int32_t> start(bin.begin(), bin.end() - 1);
    for (std::size_t k = 0; k < m; ++k) {
        position[k] = start[static_cast<std::size_t>(degree[k])]++;
        sorted[static_cast<std::size_t>(position[k])] = static_cast<std::int32_t>(k);
    }
    Ticker ticker;
    for (std::size_t at = 0; at < m; ++at) {
        const std::int32_t v = sorted[at], row = rows[static_cast<std::size_t>(v)];
        const std::int32_t own = degree[static_cast<std::size_t>(v)];
        ticker(4 * (A.indptr[row + 1] - A.indptr[row]) + 8);
        for (std::int32_t k = A.indptr[row]; k < A.indptr[row + 1]; ++k) {
            const std::int32_t u = local ? local[A.indices[k]] : A.indices[k];
            if (u < 0 || degree[static_cast<std::size_t>(u)] <= own) continue;
            const std::int32_t du = degree[static_cast<std::size_t>(u)], pu = position[static_cast<std::size_t>(u)];
            const std::int32_t pw = std::max(bin[static_cast<std::size_t>(du)], static_cast<std::int32_t>(at) + 1);
            const std::int32_t w = sorted[static_cast<std::size_t>(pw)];
            if (u != w) {
                std::swap(sorted[static_cast<std::size_t>(pu)], sorted[static_cast<std::size_t>(pw)]);
                position[static_cast<std::size_t>(u)] = pw;
                position[static_cast<std::size_t>(w)] = pu;
            }
            bin[static_cast<std::size_t>(du)] = pw + 1;
            --degree[static_cast<std::size_t>(u)];
        }
    }
    for (std::size_t k = 0; k < m; ++k) {
        const std::int32_t core = degree[k];
        cores.two += core >= 2, cores.three += core >= 3, cores.five += core >= 5;
        cores.logarithms += std::log1p(core);
        cores.largest = std::max(cores.largest, core);
        if (local) local[rows[k]] = -1;
    }
    cores.rows += static_cast<double>(m);
}

// The fill of the first `size` rows that a search found: log(operations / rows) of factoring what they have in common.
double fill_of(const FeatureMatrix& A, const Search& search, std::int32_t size, std::vector<std::int32_t>& local) {
    size = std::min<std::int32_t>(size, static_cast<std::int32_t>(search.queue.size()));
    std::vector<std::int32_t> rows(search.queue.begin(), search.queue.begin() + size);
    std::sort(rows.begin(), rows.end());
    for (std::int32_t k = 0; k < size; ++k) local[static_cast<std::size_t>(rows[static_cast<std::size_t>(k)])] = k;
    std::vector<std::int32_t> indptr(1, 0), indices;
    for (const std::int32_t row : rows) {
        for (std::int32_t k = A.indptr[row]; k < A.indptr[row + 1]; ++k)
            if (local[static_cast<std::size_t>(A.indices[k])] >= 0)
                indices.push_back(local[static_cast<std::size_t>(A.indices[k])]);
        indptr.push_back(static_cast<std::int32_t>(indices.size()));
    }
    for (const std::int32_t row : rows) local[static_cast<std::size_t>(row)] = -1;
    const Forest forest = minimum_degree(Pattern{size, indptr.data(), indices.data()},
                                         std::numeric_limits<double>::infinity());
    return std::log(std::max(forest.flops, 1.0) / std::max(size, 1));
}

// Searches from three rows: how fast they grow, and how much of a tree they are.
void ball_features(const FeatureMatrix& A, Search& search, std::int32_t* local, double* out) {
    double rows = 0, radius = 0, growth = 0, late = 0;
    const std::int64_t affordable = kBallEntries * A.n / std::max(1, A.indptr[A.n]);
    const auto size = static_cast<std::int32_t>(std::clamp<std::int64_t>(affordable, 100, kBall));
    Cores cores;
    if (A.n <= kPeeled) {
        search.queue.resize(static_cast<std::size_t>(A.n));
        for (std::int64_t i = 0; i < A.n; ++i) search.queue[static_cast<std::size_t>(i)] = static_cast<std::int32_t>(i);
        peel(A, search.queue, nullptr, cores);
    }
    for (int ball = 0; ball < kBalls; ++ball) {
        search.run(static_cast<std::int32_t>((2 * ball + 1) * A.n / (2 * kBalls)), size);
        if (A.n > kPeeled) peel(A, search.queue, local, cores);
        const auto& ends = search.level_ends;
        const double found = static_cast<double>(search.queue.size()), levels = static_cast<double>(ends.size());
        rows += std::log(found);
        radius += std::log(levels);
        // Slopes of log(rows) over log(radius): from the middle of the radius to the end, and of its last quarter.
        const auto slope = [&](std::size_t from, std::size_t to) {
            if (from >= to) return 0.0;
            const double r = std::log((static_cast<double>(to) + 0.5) / (static_cast<double>(from) + 0.5));
            return std::log(static_cast<double>(ends[to]) / static_cast<double>(ends[from])) / r;
        };
        const std::size_t last = ends.size() >= 2 ? ends.size() - 2 : 0;  // the last level may have been cut
        growth += slope(last / 3, last);
        late += slope((2 * last) / 3, last);
    }
    cores.write(out);
    out[kBallRows] = rows / kBalls;
    out[kBallRadius] = radius / kBalls;
    out[kBallGrowth] = growth / kBalls;
    out[kBallGrowthLate] = late / kBalls;
}

// Of the pairs of neighbours of some rows, the share that are neighbours.
double clustering(const FeatureMatrix& A) {
    constexpr std::int64_t kRows = 128;
    constexpr std::int32_t kLong = 40;
    double pairs = 0, closed = 0;
    const std::int64_t step = std::max<std::int64_t>(1, A.n / kRows);
    for (std::int64_t i = 0; i < A.n; i += step) {
        const std::int32_t* from = A.indices + A.indptr[i];
        const std::int32_t* to = A.indices + A.indptr[i + 1];
        if (to - from > kLong || to - from < 3) continue;
        for (const std::int32_t* k = from; k < to; ++k) {
            if (*k == i) continue;
            const std::int32_t* a = from;
            const std::int32_t* b = A.indices + A.indptr[*k];
            const std::int32_t* end = A.indices + A.indptr[*k + 1];
            if (end - b > 8 * kLong) continue;
            while (a < to && b < end) {
                if (*a == *b) closed += *a != i && *a != *k, ++a, ++b;
                else if (*a < *b) ++a;
                else ++b;
            }
            pairs += static_cast<double>(to - from - 2);
        }
    }
    return pairs > 0 ? closed / pairs : 0;
}

}  // namespace

bool structure_features(const FeatureMatrix& A, double* out, bool graph) {
    std::fill(out, out + kFeatures, std::numeric_limits<double>::quiet_NaN());
    row_features(A, out);
    if (!value_features(A, graph ? kEntries : kFewEntries, out)) return false;
    if (!graph) return true;
    std::vector<std::int32_t> local(static_cast<std::size_t>(A.n), -1);
    Search search(A);
    ball_features(A, search, local.data(), out);
    out[kClustering] = clustering(A);
    const Levels levels = level_structure(A.n, A.indptr, A.indices, false);
    out[kLevels] = std::log(static_cast<double>(std::max<std::int64_t>(levels.longest, 1)));
    out[kCubedWidth] = std::log(std::max(levels.cubed_width, 1.0));
    out[kComponents] = std::log(static_cast<double>(std::max<std::int64_t>(levels.components, 1)));
    if (A.n < kOrdered) return true;
    search.run(static_cast<std::int32_t>(A.n / 2), kLargeBall);
    out[kSmallFill] = fill_of(A, search, kSmallBall, local);
    out[kLargeFill] = fill_of(A, search, kLargeBall, local);
    out[kFillGrowth] = out[kLargeFill] - out[kSmallFill];
    return true;
}

}  // namespace nnla
