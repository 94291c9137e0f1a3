// What a sparse symmetric matrix looks like, in numbers that a cost model reads: rows, values, and the graph.
#pragma once
#include <cstdint>

namespace nnla {

// A canonical CSR matrix with a symmetric pattern and a positive diagonal, which is given once more.
struct FeatureMatrix {
    std::int64_t n = 0;
    const std::int32_t* indptr = nullptr;
    const std::int32_t* indices = nullptr;
    const double* data = nullptr;
    const double* diagonal = nullptr;
};

// In this order; the names are those of nnla.operators.features.
enum Feature : int {
    kLogRows, kLogRowLength, kLongestRow, kRowSpread, kLeaves, kChains, kBandwidth, kProfile, kPositive, kSlack,
    kUngrounded, kRowSums, kConstantVector, kRadius, kWeightMean, kWeightSpread, kStrongest, kAnisotropy,
    kDiagonalRange, kDiagonalSpread, kMerged, kRuns,
    kValueFeatures,  // so many are of rows and values; the others are of the graph
    kCore2 = kValueFeatures, kCore3, kCore5, kLargestCore, kMeanCore, kLevels, kCubedWidth, kComponents, kBallRows,
    kBallRadius, kBallGrowth, kBallGrowthLate, kClustering, kSmallFill, kLargeFill, kFillGrowth,
    kFeatures
};

// All kFeatures numbers. Without `graph` those of the graph are NaN, as are the three of fill for small matrices,
// where an ordering is at hand. Rows beyond some thousands are sampled; the time is about that of two products.
// Without the graph only the sample's columns are looked at: false where one is outside of the matrix. With it all of
// them have to be known to be right.
bool structure_features(const FeatureMatrix& A, double* out, bool graph = true);

}  // namespace nnla
