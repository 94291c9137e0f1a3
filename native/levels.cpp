#include "levels.hpp"

#include <algorithm>
#include <vector>

#include "interruption.hpp"

namespace nnla {

Levels level_structure(std::int64_t n, const std::int32_t* indptr, const std::int32_t* indices, bool from_rim) {
    Levels out;
    std::vector<std::int32_t> queue(static_cast<std::size_t>(n)), seen(static_cast<std::size_t>(n), 0);
    std::int32_t mark = 0;
    Ticker ticker;
    // Levels of the component of `start`, whose rows fill the queue from `from` on; the last of them is at its rim.
    const auto search = [&](std::int32_t start, std::size_t from, std::size_t& end) {
        ++mark;
        std::int64_t levels = 0;
        queue[from] = start;
        seen[static_cast<std::size_t>(start)] = mark;
        end = from + 1;
        for (std::size_t at = from; at < end;) {
            const std::size_t level_end = end;
            ++levels;
            for (; at < level_end; ++at) {
                const std::int32_t row_end = indptr[queue[at] + 1];
                ticker(4 * (row_end - indptr[queue[at]]) + 8);
                for (std::int32_t k = indptr[queue[at]]; k < row_end; ++k) {
                    std::int32_t& visited = seen[static_cast<std::size_t>(indices[k])];
                    if (visited == mark) continue;
                    visited = mark;
                    if (end < queue.size()) queue[end++] = indices[k];
                }
            }
        }
        return levels;
    };
    std::size_t done = 0;
    for (std::int64_t row = 0; row < n && done < queue.size(); ++row) {
        if (seen[static_cast<std::size_t>(row)] != 0) continue;
        std::size_t end = 0;
        std::int64_t levels = search(static_cast<std::int32_t>(row), done, end);
        if (from_rim) levels = search(queue[end - 1], done, end);
        const double width = static_cast<double>(end - done) / static_cast<double>(levels);
        ++out.components;
        out.longest = std::max(out.longest, levels);
        out.cubed_width += width * width * width;
        done = end;
    }
    return out;
}

}  // namespace nnla
