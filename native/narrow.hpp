// 64-bit indices as the kernels take them.
#pragma once
#include <cstdint>
#include <vector>

#include "bind.hpp"

namespace nnla {

// 32-bit indices, those of int64 copied; null where they do not fit, or are too many to be looked at.
struct Narrow {
    std::vector<std::int32_t> copy;
    const std::int32_t* data(const Indices& given) { return given.data(); }
    const std::int32_t* data(const Input<std::int64_t>& given) {
        copy.resize(given.size());
        std::int64_t all = 0;  // negative ones and those beyond leave bits in it
        for (std::size_t i = 0; i < given.size(); ++i) {
            all |= given.data()[i];
            copy[i] = static_cast<std::int32_t>(given.data()[i]);
        }
        return all >> 31 == 0 ? copy.data() : nullptr;
    }
};

}  // namespace nnla
