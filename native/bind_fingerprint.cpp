// nnla.kernels._native: whether arrays have changed; see nnla.kernels.fingerprints.
#include "bind.hpp"
#include "fingerprint.hpp"

using namespace nb::literals;

namespace nnla {

void bind_fingerprint(nb::module_& m) {
    using Bytes = Input<std::uint8_t>;
    m.def(
        "fingerprint",
        [](Bytes bytes, std::uint64_t seed) {
            LongCall call;
            return fingerprint(bytes.data(), bytes.size(), seed);
        },
        "bytes"_a, "seed"_a, "64 bits that change when the bytes do.");
    m.def(
        "same_bytes",
        [](Bytes a, Bytes b) {
            LongCall call;
            return a.size() == b.size() && same_bytes(a.data(), b.data(), a.size());
        },
        "a"_a, "b"_a, "Whether they are equal, bit by bit.");
}

}  // namespace nnla
