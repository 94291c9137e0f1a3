#include "cost_network.hpp"

#include <algorithm>
#include <cmath>
#include <stdexcept>
#include <utility>

namespace nnla {
namespace {

constexpr double kClip = 4, kLeast = -4, kMost = 2, kFarthest = 8, kLogit = 40;  // as in nnla.models.solver_costs

// y += a x: by far the most of the work, on rows that follow one another in memory.
void add_times(std::int64_t n, float a, const float* x, float* y) {
    for (std::int64_t i = 0; i < n; ++i) y[i] += a * x[i];
}

void rectify(std::vector<float>& values) {
    for (float& value : values) value = std::max(value, 0.0f);
}

}  // namespace

CostNetwork::CostNetwork(CostWeights weights) : weights_(std::move(weights)) {
    const CostWeights& w = weights_;
    const auto has = [](const auto& values, std::int64_t size) { return static_cast<std::int64_t>(values.size()) == size; };
    constexpr std::int64_t most = 1 << 20;  // of a size, so that no product overflows
    const std::int64_t F = w.features, E = w.members, H = w.hidden, T = w.targets;
    for (const std::int64_t size : {F, w.structure, E, H, T, w.failures})
        if (size < 1 || size > most) throw std::invalid_argument("a size of the network is not there");
    const std::int64_t U = w.inputs(), C = w.outputs();
    const bool fits = w.structure <= F && has(w.mean, F) && has(w.scale, F) && has(w.low, F) && has(w.high, F) &&
                      has(w.temperature, T) && has(w.w1, U * E * H) && has(w.b1, E * H) && has(w.w2, E * H * H) &&
                      has(w.b2, E * H) && has(w.w3, E * H * C) && has(w.b3, E * C) && has(w.skip, U * C);
    if (!fits) throw std::invalid_argument("arrays of the network do not fit together");
}

CostAnswer CostNetwork::operator()(const double* x) const {
    const CostWeights& w = weights_;
    const std::int64_t F = w.features, U = w.inputs(), E = w.members, H = w.hidden, T = w.targets, C = w.outputs();
    CostAnswer answer;
    std::vector<float> u(U);
    double outside = 0;
    for (std::int64_t i = 0; i < F; ++i) {
        const double z = std::isfinite(x[i]) ? (x[i] - w.mean[i]) / w.scale[i] : 0.0;
        const double middle = (0.5 * (w.low[i] + w.high[i]) - w.mean[i]) / w.scale[i];
        const double reach = 0.5 * (w.high[i] - w.low[i]) / w.scale[i] + 1e-9;  // rounding is not outside
        outside += std::max(std::fabs(z - middle) - reach, 0.0);
        u[i] = static_cast<float>(std::clamp(z, -kClip, kClip));
    }
    for (std::int64_t i = 0; i < w.structure; ++i) u[F + i] = u[i] * u[0];

    std::vector<float> first(w.b1), second(w.b2), linear(C, 0.0f), out(w.b3);
    for (std::int64_t i = 0; i < U; ++i) {
        if (u[i] == 0.0f) continue;
        add_times(E * H, u[i], w.w1.data() + i * E * H, first.data());
        add_times(C, u[i], w.skip.data() + i * C, linear.data());
    }
    rectify(first);
    for (std::int64_t k = 0; k < E * H; ++k)
        if (first[k] > 0.0f) add_times(H, first[k], w.w2.data() + k * H, second.data() + k / H * H);
    rectify(second);
    for (std::int64_t k = 0; k < E * H; ++k)
        if (second[k] > 0.0f) add_times(C, second[k], w.w3.data() + k * C, out.data() + k / H * C);

    answer.outside = std::min(outside, kFarthest);
    const double members = static_cast<double>(E);
    for (std::int64_t t = 0; t < T; ++t) {
        double sum = 0, squares = 0, variance = 0;
        for (std::int64_t e = 0; e < E; ++e) {
            const double mean = static_cast<double>(out[e * C + t]) + linear[t];
            const double log = static_cast<double>(out[e * C + T + t]) + linear[T + t];
            sum += mean, squares += mean * mean;
            variance += std::exp(2 * std::clamp(log, kLeast, kMost));
        }
        const double mean = sum / members;
        const double apart = std::max(squares / members - mean * mean, 0.0);
        answer.mean.push_back(mean);
        answer.std.push_back(w.temperature[t] * (1 + answer.outside) * std::sqrt(variance / members + apart));
    }
    for (std::int64_t p = 0; p < w.failures; ++p) {
        double sum = 0;
        for (std::int64_t e = 0; e < E; ++e) {
            const double logit = static_cast<double>(out[e * C + 2 * T + p]) + linear[2 * T + p];
            sum += 1 / (1 + std::exp(-std::clamp(logit, -kLogit, kLogit)));
        }
        answer.failure.push_back(sum / members);
    }
    return answer;
}

}  // namespace nnla
