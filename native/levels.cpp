#include "levels.hpp"

#include <algorithm>

namespace nnla {
namespace {

using Int = std::int32_t;

// On grids in two and three dimensions minimum degree takes about this many times the cube of the width.
constexpr double kFactor = 18;

class Search {
  public:
    explicit Search(const Pattern& a) : a_(a), seen_(a.n, 0), queue_(a.n) {}

    // The level sets of the component of `start`, in queue_[0] ... queue_[count - 1]; a node not seen before `round`.
    void run(Int start, Int round) {
        starts_.assign(1, 0);
        count = 1;
        queue_[0] = start;
        seen_[start] = round;
        for (Int level = 0; level < count;) {
            const Int end = count;
            for (; level < end; ++level) {
                const Int i = queue_[level];
                for (Int p = a_.indptr[i]; p < a_.indptr[i + 1]; ++p) {
                    const Int j = a_.indices[p];
                    if (seen_[j] == round) continue;
                    seen_[j] = round;
                    queue_[count++] = j;
                }
            }
            starts_.push_back(end);
        }
    }

    bool seen(Int i) const { return seen_[i] != 0; }
    Int last() const { return queue_[count - 1]; }

    // Nodes of the narrowest level with a third of the component before it and behind it, or near to that.
    Int width() const {
        Int best = count;
        const std::size_t levels = starts_.size() - 1;
        for (std::size_t l = 0; l < levels; ++l) {
            const Int begin = starts_[l], end = starts_[l + 1];
            if (3LL * end < count || 3LL * begin > 2LL * count) continue;
            best = std::min(best, end - begin);
        }
        return best;
    }

    double levels() const { return static_cast<double>(starts_.size() - 1); }

    Int count = 0;

  private:
    const Pattern& a_;
    std::vector<Int> seen_, queue_, starts_;
};

}  // namespace

double guess_flops(const Pattern& a) {
    Search search(a);
    double flops = 0;
    for (Int start = 0; start < a.n; ++start) {
        if (search.seen(start)) continue;
        search.run(start, 1);
        if (search.count > 64) search.run(search.last(), 2);  // from far out, the levels are narrow
        const double width = search.width();
        const double parts = std::max(1.0, search.levels() / (2 * width));  // long strips, one behind the other
        flops += kFactor * width * width * width * parts;
    }
    return flops;
}

}  // namespace nnla
