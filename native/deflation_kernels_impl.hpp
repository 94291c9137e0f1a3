// The loops of deflation_kernels.hpp; included by one file for each instruction set. No templates of the standard library
// here: the linker could pick an instance of a foreign instruction set.
#pragma once
#include "deflation_kernels.hpp"

namespace nnla {
namespace {

constexpr std::int64_t kWide = 8;  // columns side by side

void dots(const float* rows, std::int64_t count, const double* x, std::int64_t columns, double* sums) {
    const std::int64_t whole = columns / kWide * kWide;
    for (std::int64_t i = 0; i < count; ++i) {
        const float* row = rows + i * kDeflationBlock;
        double part[kWide] = {};
        for (std::int64_t j = 0; j < whole; j += kWide)
            for (std::int64_t l = 0; l < kWide; ++l) part[l] += static_cast<double>(row[j + l]) * x[j + l];
        for (std::int64_t j = whole; j < columns; ++j) part[0] += static_cast<double>(row[j]) * x[j];
        sums[i] += ((part[0] + part[4]) + (part[1] + part[5])) + ((part[2] + part[6]) + (part[3] + part[7]));
    }
}

void add(const float* rows, std::int64_t count, const double* c, double* z, std::int64_t columns) {
    const std::int64_t whole = columns / kWide * kWide;
    for (std::int64_t j = 0; j < whole; j += kWide) {
        double sum[kWide];
        for (std::int64_t l = 0; l < kWide; ++l) sum[l] = z[j + l];
        for (std::int64_t i = 0; i < count; ++i)
            for (std::int64_t l = 0; l < kWide; ++l)
                sum[l] += c[i] * static_cast<double>(rows[i * kDeflationBlock + j + l]);
        for (std::int64_t l = 0; l < kWide; ++l) z[j + l] = sum[l];
    }
    for (std::int64_t j = whole; j < columns; ++j)
        for (std::int64_t i = 0; i < count; ++i) z[j] += c[i] * static_cast<double>(rows[i * kDeflationBlock + j]);
}

constexpr DeflationKernels deflation_table() { return {&dots, &add}; }

}  // namespace
}  // namespace nnla
