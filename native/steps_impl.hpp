// The loops themselves; included by steps_generic.cpp, steps_avx2.cpp and steps_avx512.cpp, which differ in their
// compiler flags. Everything lives in an unnamed namespace: the linker must not mix the three.
#include <cstring>

#include "steps.hpp"
#if defined(__AVX2__) || defined(__AVX512F__)
#include <immintrin.h>
#endif

namespace nnla {
namespace {

// -- 16 numbers in registers ----------------------------------------------------------------------------------

#if defined(__AVX512F__)
constexpr int kWidth = 64;
#elif defined(__AVX2__)
constexpr int kWidth = 32;
#else
constexpr int kWidth = 16;
#endif

#if defined(__GNUC__) || defined(__clang__)
template <class T> struct Register {
    typedef T type __attribute__((vector_size(kWidth)));
};
#else
template <class T> struct Register {  // one number at a time: the compiler vectorises what it can
    struct type {
        T v;
        type operator+(type o) const { return {v + o.v}; }
        type operator*(type o) const { return {v * o.v}; }
    };
};
#endif

template <class T> struct Lanes {
    using R = typename Register<T>::type;
    static constexpr int kRegister = sizeof(R) / sizeof(T);
    static constexpr int kCount = kLanes / kRegister;
    R r[kCount];

    static Lanes load(const T* p) {
        Lanes x;
        std::memcpy(&x.r, p, sizeof x.r);
        return x;
    }
    static Lanes all(T value) {
        Lanes x;
        T copies[kLanes];
        for (int i = 0; i < kLanes; ++i) copies[i] = value;
        std::memcpy(&x.r, copies, sizeof x.r);
        return x;
    }
    void store(T* p) const { std::memcpy(p, &r, sizeof r); }
    void add(const Lanes& a, const Lanes& b) {
        for (int i = 0; i < kCount; ++i) r[i] = r[i] + a.r[i] * b.r[i];
    }
    static Lanes times(const Lanes& a, const Lanes& b) {
        Lanes x;
        for (int i = 0; i < kCount; ++i) x.r[i] = a.r[i] * b.r[i];
        return x;
    }
};

// The values of a slice column in the type of the arithmetic.
inline Lanes<double> load_values(const double* v) { return Lanes<double>::load(v); }
inline Lanes<float> load_values(const float* v) { return Lanes<float>::load(v); }
inline Lanes<float> load_values(const bfloat16* v) {
#if defined(__AVX512F__)
    Lanes<float> x;
    const __m256i half = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(v));
    x.r[0] = reinterpret_cast<Lanes<float>::R>(_mm512_slli_epi32(_mm512_cvtepu16_epi32(half), 16));
    return x;
#else
    std::uint32_t bits[kLanes];
    for (int i = 0; i < kLanes; ++i) bits[i] = static_cast<std::uint32_t>(v[i].bits) << 16;
    Lanes<float> x;
    std::memcpy(&x.r, bits, sizeof bits);
    return x;
#endif
}
inline double load_value(double v) { return v; }
inline float load_value(float v) { return v; }
inline float load_value(bfloat16 v) {
    const std::uint32_t bits = static_cast<std::uint32_t>(v.bits) << 16;
    float x;
    std::memcpy(&x, &bits, sizeof x);
    return x;
}

// x[lane + offset[lane]] for the 16 lanes.
template <class T, class I> inline Lanes<T> gather(const T* x, const I* offset) {
    T copies[kLanes];
    for (int i = 0; i < kLanes; ++i) copies[i] = x[i + static_cast<std::ptrdiff_t>(offset[i])];
    return Lanes<T>::load(copies);
}
#if defined(__AVX512F__)
inline __m512i index_of(const std::int16_t* offset) {
    const __m512i lane = _mm512_set_epi32(15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0);
    return _mm512_add_epi32(lane, _mm512_cvtepi16_epi32(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(offset))));
}
inline __m512i index_of(const std::int32_t* offset) {
    const __m512i lane = _mm512_set_epi32(15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0);
    return _mm512_add_epi32(lane, _mm512_loadu_si512(offset));
}
template <class I> inline Lanes<float> gather(const float* x, const I* offset) {
    Lanes<float> out;
    out.r[0] = reinterpret_cast<Lanes<float>::R>(_mm512_i32gather_ps(index_of(offset), x, 4));
    return out;
}
template <class I> inline Lanes<double> gather(const double* x, const I* offset) {
    const __m512i index = index_of(offset);
    Lanes<double> out;
    out.r[0] = reinterpret_cast<Lanes<double>::R>(_mm512_i32gather_pd(_mm512_castsi512_si256(index), x, 8));
    out.r[1] = reinterpret_cast<Lanes<double>::R>(_mm512_i32gather_pd(_mm512_extracti64x4_epi64(index, 1), x, 8));
    return out;
}
#endif

// -- (M c) on one slice ------------------------------------------------------------------------------------------

template <class V, class T = typename arithmetic<V>::type>
inline Lanes<T> multiply(const Sliced<V>& M, const Slice& s, const T* c, std::size_t row0) {
    const T* x = c + row0;
    Lanes<T> sum = Lanes<T>::all(T(0));
    const std::int32_t* delta = M.deltas() + s.delta;
    const V* scalar = M.scalars() + s.scalar;
    for (std::uint32_t k = 0; k < s.constants; ++k)
        sum.add(Lanes<T>::all(load_value(scalar[k])), Lanes<T>::load(x + delta[k]));
    delta += s.constants;
    const V* value = M.values() + std::size_t{kLanes} * s.value;
    for (std::uint32_t k = 0; k < s.runs; ++k, value += kLanes) sum.add(load_values(value), Lanes<T>::load(x + delta[k]));
    const std::int16_t* shorts = M.shorts() + std::size_t{kLanes} * s.shorts;
    for (std::uint32_t k = 0; k < s.short_count; ++k, value += kLanes, shorts += kLanes)
        sum.add(load_values(value), gather(x, shorts));
    const std::int32_t* wides = M.wides() + std::size_t{kLanes} * s.wide;
    for (std::uint32_t k = 0; k < s.wide_count; ++k, value += kLanes, wides += kLanes)
        sum.add(load_values(value), gather(x, wides));
    if (s.tails > 0) {
        T lanes[kLanes];
        sum.store(lanes);
        const V* v = M.tail_values() + s.tail;
        const std::int32_t* column = M.tail_columns() + s.tail;
        const std::uint8_t* lane = M.tail_lanes() + s.tail;
        // Long rows in several sums: one would wait for each addition in turn.
        for (std::uint32_t k = 0; k < s.tails;) {
            const std::uint8_t here = lane[k];
            T parts[4] = {0, 0, 0, 0};
            for (; k + 3 < s.tails && lane[k + 3] == here; k += 4)
                for (int i = 0; i < 4; ++i) parts[i] += load_value(v[k + i]) * c[column[k + i]];
            for (; k < s.tails && lane[k] == here; ++k) parts[0] += load_value(v[k]) * c[column[k]];
            lanes[here] += (parts[0] + parts[1]) + (parts[2] + parts[3]);
        }
        sum = Lanes<T>::load(lanes);
    }
    return sum;
}

template <class V, class T, bool kEta, bool kGamma, bool kProduct, bool kRho>
void step_rows(const Sliced<V>& M, std::size_t lo, std::size_t hi, const Step<T>& a) {
    const Lanes<T> alpha = Lanes<T>::all(a.alpha), beta = Lanes<T>::all(a.beta), gamma = Lanes<T>::all(a.gamma),
                   eta = Lanes<T>::all(a.eta), rho = Lanes<T>::all(a.rho);
    const Slice* heads = M.heads();
    for (std::size_t s = lo; s < hi; ++s) {
        const std::size_t row0 = s * kLanes;
        const Lanes<T> c = Lanes<T>::load(a.c + row0);
        Lanes<T> out = Lanes<T>::times(alpha, c);
        if (kGamma) out.add(gamma, Lanes<T>::load(a.acc + row0));
        if (kEta) out.add(eta, Lanes<T>::load(a.out + row0));
        if (kRho) {
            Lanes<T> acc = Lanes<T>::load(a.acc + row0);
            acc.add(rho, c);
            acc.store(a.acc_target + row0);
        }
        if (kProduct) out.add(beta, multiply(M, heads[s], a.c, row0));
        out.store(a.out + row0);
    }
}

template <class V, class T, bool kEta, bool kGamma>
void step_rows(const Sliced<V>& M, std::size_t lo, std::size_t hi, const Step<T>& a) {
    if (a.rho != 0)
        a.beta != 0 ? step_rows<V, T, kEta, kGamma, true, true>(M, lo, hi, a)
                    : step_rows<V, T, kEta, kGamma, false, true>(M, lo, hi, a);
    else
        a.beta != 0 ? step_rows<V, T, kEta, kGamma, true, false>(M, lo, hi, a)
                    : step_rows<V, T, kEta, kGamma, false, false>(M, lo, hi, a);
}

template <class V, class T = typename arithmetic<V>::type>
void step(const Sliced<V>& M, std::size_t lo, std::size_t hi, const Step<T>& a) {
    if (a.eta != 0)
        a.gamma != 0 ? step_rows<V, T, true, true>(M, lo, hi, a) : step_rows<V, T, true, false>(M, lo, hi, a);
    else
        a.gamma != 0 ? step_rows<V, T, false, true>(M, lo, hi, a) : step_rows<V, T, false, false>(M, lo, hi, a);
}

template <class V, class T = typename arithmetic<V>::type>
double product(const Sliced<V>& M, std::size_t lo, std::size_t hi, const T* c, T* out) {
    Lanes<T> dot = Lanes<T>::all(T(0));
    const Slice* heads = M.heads();
    for (std::size_t s = lo; s < hi; ++s) {
        const std::size_t row0 = s * kLanes;
        const Lanes<T> y = multiply(M, heads[s], c, row0);
        y.store(out + row0);
        dot.add(Lanes<T>::load(c + row0), y);
    }
    T lanes[kLanes];
    dot.store(lanes);
    double sum = 0;
    for (int i = 0; i < kLanes; ++i) sum += static_cast<double>(lanes[i]);
    return sum;
}

// -- several vectors at once --------------------------------------------------------------------------------------

// One entry of the matrix meets a whole row of the block, so nothing is gathered; the inner loops have a fixed
// length and become vector instructions.
template <int K, class V, class T>
void block_rows(const Sliced<V>& M, std::size_t lo, std::size_t hi, const Step<T>& a) {
    const Slice* heads = M.heads();
    for (std::size_t s = lo; s < hi; ++s) {
        const Slice& h = heads[s];
        const std::size_t row0 = s * kLanes;
        T sum[kLanes][K] = {};
        if (a.beta != 0) {
            const auto entry = [&](int lane, T v, std::ptrdiff_t column) {
                const T* x = a.c + column * K;
                for (int j = 0; j < K; ++j) sum[lane][j] += v * x[j];
            };
            const std::ptrdiff_t row = static_cast<std::ptrdiff_t>(row0);
            const std::int32_t* delta = M.deltas() + h.delta;
            const V* scalar = M.scalars() + h.scalar;
            for (std::uint32_t k = 0; k < h.constants; ++k)
                for (int lane = 0; lane < kLanes; ++lane) entry(lane, load_value(scalar[k]), row + lane + delta[k]);
            delta += h.constants;
            const V* value = M.values() + std::size_t{kLanes} * h.value;
            for (std::uint32_t k = 0; k < h.runs; ++k, value += kLanes)
                for (int lane = 0; lane < kLanes; ++lane) entry(lane, load_value(value[lane]), row + lane + delta[k]);
            const std::int16_t* shorts = M.shorts() + std::size_t{kLanes} * h.shorts;
            for (std::uint32_t k = 0; k < h.short_count; ++k, value += kLanes, shorts += kLanes)
                for (int lane = 0; lane < kLanes; ++lane) entry(lane, load_value(value[lane]), row + lane + shorts[lane]);
            const std::int32_t* wides = M.wides() + std::size_t{kLanes} * h.wide;
            for (std::uint32_t k = 0; k < h.wide_count; ++k, value += kLanes, wides += kLanes)
                for (int lane = 0; lane < kLanes; ++lane) entry(lane, load_value(value[lane]), row + lane + wides[lane]);
            for (std::uint32_t k = h.tail; k < h.tail + h.tails; ++k)
                entry(M.tail_lanes()[k], load_value(M.tail_values()[k]), M.tail_columns()[k]);
        }
        const std::size_t at = row0 * K;
        for (int i = 0; i < kLanes; ++i)
            for (int j = 0; j < K; ++j) {
                const std::size_t p = at + static_cast<std::size_t>(i) * K + static_cast<std::size_t>(j);
                T y = a.beta * sum[i][j] + a.alpha * a.c[p];
                if (a.gamma != 0) y += a.gamma * a.acc[p];
                if (a.eta != 0) y += a.eta * a.out[p];
                if (a.rho != 0) a.acc_target[p] = a.acc[p] + a.rho * a.c[p];
                a.out[p] = y;
            }
    }
}

template <class V, class T = typename arithmetic<V>::type>
void block_step(const Sliced<V>& M, std::size_t lo, std::size_t hi, int columns, const Step<T>& a) {
    if (columns == 8)
        block_rows<8>(M, lo, hi, a);
    else if (columns == 4)
        block_rows<4>(M, lo, hi, a);
    else
        block_rows<2>(M, lo, hi, a);
}

template <class V> Kernels<V> table() { return {&step<V>, &product<V>, &block_step<V>}; }

}  // namespace
}  // namespace nnla
