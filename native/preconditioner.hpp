// What native CG can be preconditioned by.
#pragma once
#include <cstdint>

namespace nnla {

// z = M r for one vector of length size(), M symmetric positive definite. Takes and gives float64 whatever the
// precision inside. Not reentrant: an object owns its work space.
class Preconditioner {
  public:
    virtual ~Preconditioner() = default;
    virtual std::int64_t size() const = 0;
    virtual void apply(const double* r, double* z) = 0;
};

}  // namespace nnla
