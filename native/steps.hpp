// The hot loops, compiled once for each instruction set and chosen when the module is loaded.
#pragma once
#include <cstddef>

#include "sliced.hpp"

namespace nnla {

// One step of the recurrence (AutoSpec, equation (5)) on some rows:
//   out <- gamma acc + eta out + alpha c + beta (M c),   then   acc <- acc + rho c
template <class T> struct Step {
    T rho, gamma, eta, alpha, beta;
    const T* c;        // padded
    const T* acc;      // A_k; not read where gamma = 0
    T* out;            // padded; B_k before, C_{k+1} after; not read where eta = 0
    T* acc_target;     // where acc + rho c goes; only used where rho != 0
};

template <class V> struct Kernels {
    using T = typename arithmetic<V>::type;
    // The step on slices lo ... hi - 1; beta = 0 leaves the product out.
    void (*step)(const Sliced<V>&, std::size_t lo, std::size_t hi, const Step<T>&);
    // out = M c, and the sum of c * out over these rows.
    double (*product)(const Sliced<V>&, std::size_t lo, std::size_t hi, const T* c, T* out);
    // out = M c for `columns` vectors (2, 4 or 8), entry i of column j at i * columns + j, as a step.
    void (*block_step)(const Sliced<V>&, std::size_t lo, std::size_t hi, int columns, const Step<T>&);
};

// The vector operations of conjugate gradients in float64 on entries lo ... hi - 1, fused so that each vector is
// read and written once. `inverse` is the inverse diagonal of Jacobi's preconditioner, or null.
struct VectorKernels {
    // rows lo ... hi - 1 of out = A c, and the sum of c * out over them
    double (*csr_product)(const Csr& A, std::int64_t lo, std::int64_t hi, const double* c, double* out);
    // p = u + beta p
    void (*direction)(std::size_t lo, std::size_t hi, double beta, const double* u, double* p);
    // x += alpha p, r -= alpha s, u = inverse r; sums[0] = r'r, sums[1] = r'u
    void (*update)(std::size_t lo, std::size_t hi, double alpha, const double* p, const double* s, double* x,
                   double* r, const double* inverse, double* u, double* sums);
    // p = u + beta p, s = w + beta s, and then as update
    void (*both)(std::size_t lo, std::size_t hi, double beta, double alpha, const double* w, double* p, double* s,
                 double* x, double* r, const double* inverse, double* u, double* sums);
    double (*dot)(std::size_t lo, std::size_t hi, const double* a, const double* b);
    // a = b + q c, the triad that bandwidth is measured by
    void (*triad)(std::size_t lo, std::size_t hi, double q, const double* b, const double* c, double* a);
};

struct BandKernels;
struct BasisKernels;
struct BlockKernels;
struct DeflationKernels;
struct PanelKernels;

// The kernels of one instruction set. The functions that return them are compiled for it themselves: nobody but the
// choice in isa.cpp may call them, and only after asking the processor.
struct InstructionSet {
    const char* name;
    VectorKernels vectors;
    Kernels<double> f64;
    Kernels<float> f32;
    Kernels<bfloat16> bf16;
    const PanelKernels* panel;
    const BasisKernels* basis;
    const BlockKernels* block;
    const BandKernels* band;
    const DeflationKernels* deflation;
};

const InstructionSet& generic_kernels();
#if defined(NNLA_X86)
const InstructionSet& avx2_kernels();
const InstructionSet& avx512_kernels();
#endif

// The best that this processor has, or what NNLA_ISA (generic, avx2, avx512) asks for and the processor has.
const InstructionSet& isa();

template <class V> const Kernels<V>& kernels();
template <> inline const Kernels<double>& kernels<double>() { return isa().f64; }
template <> inline const Kernels<float>& kernels<float>() { return isa().f32; }
template <> inline const Kernels<bfloat16>& kernels<bfloat16>() { return isa().bf16; }

// Denormal numbers to zero while it lives: far from a local right-hand side a float32 recurrence decays through
// them, at a hundred times the cost of an ordinary operation.
class FlushDenormals {
  public:
    FlushDenormals();
    ~FlushDenormals();
    FlushDenormals(const FlushDenormals&) = delete;
    FlushDenormals& operator=(const FlushDenormals&) = delete;

  private:
    unsigned saved_;
};

// The processor's arithmetic as every thread starts with, while it lives.
class OrdinaryArithmetic {
  public:
    OrdinaryArithmetic();
    ~OrdinaryArithmetic();
    OrdinaryArithmetic(const OrdinaryArithmetic&) = delete;
    OrdinaryArithmetic& operator=(const OrdinaryArithmetic&) = delete;

  private:
    unsigned saved_;
};

}  // namespace nnla
