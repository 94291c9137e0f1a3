// nnla.kernels._native: deflated preconditioners; see nnla.krylov.deflated_cg.
#include <optional>
#include <nanobind/stl/optional.h>

#include "bind.hpp"
#include "deflation.hpp"

using namespace nb::literals;

namespace nnla {
namespace {

// With the array that it reads.
class HeldDeflation : public Preconditioner {
  public:
    HeldDeflation(const InputBlock<double>& W, const InputBlock<double>& AW, Preconditioner* M,
                  std::optional<Values> inverse)
        : inverse_(inverse), deflated_(rows(W), rows(AW), M, inverse_ ? inverse_->data() : nullptr) {}
    std::int64_t size() const override { return deflated_.size(); }
    void apply(const double* r, double* z) override { deflated_.apply(r, z); }

  private:
    static Rows rows(const InputBlock<double>& V) {
        return {V.data(), static_cast<std::int64_t>(V.shape(0)), static_cast<std::int64_t>(V.shape(1))};
    }
    std::optional<Values> inverse_;
    DeflatedPreconditioner deflated_;
};

}  // namespace

void bind_deflation(nb::module_& m) {
    nb::class_<HeldDeflation, Preconditioner>(m, "Deflation", "A preconditioner corrected in a subspace.")
        .def("__init__",
             [](HeldDeflation* self, InputBlock<double> W, InputBlock<double> AW, Preconditioner* M,
                std::optional<Values> inverse) {
                 require(W.shape(0) == AW.shape(0) && W.shape(1) == AW.shape(1), "blocks of different shapes");
                 require(W.shape(0) <= 0x7fffffff, "too many rows");
                 require(!inverse || inverse->size() == W.shape(1), "a vector of another length than the rows");
                 require(M == nullptr || M->size() == static_cast<std::int64_t>(W.shape(1)),
                         "a preconditioner of another size");
                 require(M == nullptr || !inverse, "a preconditioner or an inverse diagonal, not both");
                 LongCall call;
                 new (self) HeldDeflation(W, AW, M, inverse);
             },
             "W"_a, "AW"_a, "M"_a.none(), "inverse"_a.none(), nb::keep_alive<1, 4>());
}

}  // namespace nnla
