#include "incomplete_order.hpp"

#include <algorithm>
#include <cmath>

#include "interruption.hpp"

namespace nnla {
namespace {

// Windows tried, shortest first, until levels hold kWidth rows on average; kIrregularWidth where rows differ in
// length by kIrregular entries on average, so that many of equal length come together.
constexpr std::int32_t kWindows[] = {128, 256, 512, 1024, 2048, 4096, 8192};
constexpr std::int32_t kLongest = 8192;
constexpr double kWidth = 4.0, kIrregularWidth = 16.0, kIrregular = 1.0;
// Windows looked at to choose their length.
constexpr std::int32_t kSamples = 16;

class Levels {
  public:
    explicit Levels(const IncompleteFactor& factor) : f_(factor), level_(kLongest), key_(kLongest), rank_(kLongest) {}

    // Levels of rows first .. last - 1 counting only dependencies among them; returns how many there are.
    std::int32_t find(std::int32_t first, std::int32_t last) {
        std::fill_n(level_.begin(), last - first, 0);
        std::int32_t deepest = 0;
        tick(32 * static_cast<std::int64_t>(last - first));
        for (std::int32_t k = first; k < last; ++k) {
            const std::int32_t next = level_[k - first] + 1;
            deepest = std::max(deepest, next);
            for (std::int32_t p = f_.start[k]; p < f_.start[k + 1] && f_.row[p] < last; ++p) {
                std::int32_t& level = level_[f_.row[p] - first];
                level = std::max(level, next);
            }
        }
        return deepest;
    }

    // Rows first .. last - 1 by level, within a level by their numbers of entries (loops of equal length are
    // predicted), then by number.
    void sort(std::int32_t first, std::int32_t last, const std::vector<std::int32_t>& left, std::int32_t* order) {
        const std::int32_t count = last - first, depth = find(first, last);
        for (std::int32_t s = 0; s < count; ++s) order[s] = first + s;
        for (std::int32_t s = 0; s < count; ++s) key_[s] = std::min(f_.start[first + s + 1] - f_.start[first + s], 63);
        pass(first, count, order);
        for (std::int32_t s = 0; s < count; ++s) key_[s] = std::min(left[first + s], 63);
        pass(first, count, order);
        if (depth > 1) {
            std::copy_n(level_.begin(), count, key_.begin());
            pass(first, count, order);
        }
    }

  private:
    // One stable counting sort.
    void pass(std::int32_t first, std::int32_t count, std::int32_t* order) {
        const auto range = std::minmax_element(key_.begin(), key_.begin() + count);
        const std::int32_t low = *range.first, high = *range.second;
        if (low == high) return;
        begin_.assign(high - low + 2, 0);
        for (std::int32_t s = 0; s < count; ++s) ++begin_[key_[s] - low + 1];
        for (std::int32_t k = 0; k < high - low; ++k) begin_[k + 1] += begin_[k];
        for (std::int32_t s = 0; s < count; ++s) rank_[begin_[key_[order[s] - first] - low]++] = order[s];
        std::copy_n(rank_.begin(), count, order);
    }

    const IncompleteFactor& f_;
    std::vector<std::int32_t> level_, key_, rank_, begin_;
};

}  // namespace

std::vector<std::int32_t> independent_order(const IncompleteFactor& f) {
    const std::int32_t n = f.n, nnz = f.start[n];
    if (nnz == 0) return {};
    std::vector<std::int32_t> left(n, 0);
    for (std::int32_t p = 0; p < nnz; ++p) ++left[f.row[p]];
    const double mean = static_cast<double>(nnz) / n;
    double deviation = 0.0;
    for (std::int32_t k = 0; k < n; ++k) deviation += std::fabs(left[k] - mean);
    const double width = deviation > kIrregular * n ? kIrregularWidth : kWidth;
    Levels levels(f);
    std::int32_t window = 0;
    for (const std::int32_t candidate : kWindows) {
        if (candidate >= 2 * n) break;
        window = candidate;
        const std::int32_t windows = (n + window - 1) / window, samples = std::min(windows, kSamples);
        std::int64_t rows = 0, depth = 0;
        for (std::int32_t s = 0; s < samples; ++s) {
            const std::int32_t at = static_cast<std::int32_t>(static_cast<std::int64_t>(s) * windows / samples);
            const std::int32_t first = at * window, last = std::min(n, first + window);
            rows += last - first;
            depth += levels.find(first, last);
        }
        if (rows >= width * depth) break;
    }
    if (window == 0) return {};
    std::vector<std::int32_t> order(n);
    for (std::int32_t first = 0; first < n; first += window)
        levels.sort(first, std::min(n, first + window), left, order.data() + first);
    return order;
}

}  // namespace nnla
