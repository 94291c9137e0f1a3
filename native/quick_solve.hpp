// A small symmetric positive definite system in one call: looked at, solved by the method that takes least, verified.
// Whatever is unusual is declined, for the ordinary way to deal with from the start.
#pragma once
#include <cstdint>
#include <utility>
#include <vector>

#include "checks.hpp"
#include "quick_choice.hpp"
#include "verification.hpp"

namespace nnla {

enum class QuickMethod { direct = 0, jacobi = 1, automatic = 2, ic = 3 };  // the last one is chosen, never asked for

// One way that was tried.
struct QuickPhase {
    QuickMethod method = QuickMethod::direct;
    bool ended_well = true;        // false: left for the next phase
    bool band = false;             // a factorisation within the band, in an order of small width
    std::int64_t iterations = 0;   // of CG, or refinements
    std::int64_t products = 0, reductions = 0;
    double seconds = 0, setup = 0;
};

struct QuickSystem {
    CsrArrays<std::int32_t> A;
    const double* b;
    double rtol, atol;       // ||b - A x|| <= max(rtol ||b||, atol)
    QuickMethod method = QuickMethod::automatic;
    double asymmetry = 0.0;  // |a_ij - a_ji| relative to the diagonal that counts as rounding; 0: none
    const QuickCosts* costs = nullptr;  // learned ones, which systems of more than kQuickEntries are chosen for by
};

struct QuickAnswer {
    Declined declined = Declined::no;
    std::int64_t nnz = 0;
    Figures figures;
    double predicted_direct = -1, predicted_jacobi = -1;  // seconds; negative where nothing was predicted
    std::vector<std::pair<double, double>> learned;       // seconds and spread of every QuickWay, by the learned costs
    double more_flops = 0;  // operations that a factorisation has turned out to take more of
    std::vector<QuickPhase> phases;
    std::vector<double> history;  // residual norms of CG relative to that of b
};

constexpr std::int64_t kQuickEntries = 20'000;   // up to which counts decide, as learned costs are of longer solves
constexpr std::int64_t kMostEntries = 400'000;  // beyond them the ordinary way costs little beside the solve

// Solves into x (n entries) or declines, with x undefined.
QuickAnswer solve_quickly(const QuickSystem& system, double* x);

}  // namespace nnla
