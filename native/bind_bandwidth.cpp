// nnla.kernels._native: the STREAM triad, the yardstick of benchmarks/kernels.py.
#include <algorithm>

#include "bind.hpp"
#include "steps.hpp"
#include "threads.hpp"

using namespace nb::literals;

namespace nnla {

void bind_bandwidth(nb::module_& m) {
    m.def("triad",
          [](double q, Values b, Values c, Output<double> a) {
              const std::size_t n = a.size();
              require(b.size() == n && c.size() == n, "vectors of different lengths");
              const double *from = b.data(), *other = c.data();
              double* to = a.data();
              LongCall call;
              const auto parts = static_cast<std::size_t>(max_threads());
              const std::size_t each = (n / parts + 15) / 16 * 16;  // whole cache lines
              parallel(static_cast<int>(parts), [&](int part) {
                  const std::size_t lo = std::min(n, static_cast<std::size_t>(part) * each);
                  const std::size_t hi = part + 1 == static_cast<int>(parts) ? n : std::min(n, lo + each);
                  tick(static_cast<std::int64_t>(hi - lo));
                  if (lo < hi) isa().vectors.triad(lo, hi, q, from, other, to);
              });
          },
          "q"_a, "b"_a, "c"_a, "a"_a, "a = b + q c on all threads: what memory gives.");
}

}  // namespace nnla
