// The loops of block_rows.hpp; included by one file for each instruction set. Everything lives in an unnamed namespace,
// and no templates of the standard library: the linker must not mix the instruction sets.
#include <cstring>

#include "block_rows.hpp"

namespace nnla {
namespace {

#if defined(__AVX512F__)
constexpr int kRegisterBytes = 64;
#elif defined(__AVX2__)
constexpr int kRegisterBytes = 32;
#else
constexpr int kRegisterBytes = 16;
#endif

// K numbers, in as many registers as they need.
template <class T, int K> struct Pack {
    static constexpr int kBytes = K * int(sizeof(T)) < kRegisterBytes ? K * int(sizeof(T)) : kRegisterBytes;
    static constexpr int kCount = K * int(sizeof(T)) / kBytes;
#if defined(__GNUC__) || defined(__clang__)
    typedef T R __attribute__((vector_size(kBytes)));
    static R spread(T value) { return value - R{}; }
#else
    struct R {  // one number at a time: the compiler vectorises what it can
        T v[kBytes / sizeof(T)];
        R operator+(const R& o) const {
            R x;
            for (int i = 0; i < int(kBytes / sizeof(T)); ++i) x.v[i] = v[i] + o.v[i];
            return x;
        }
        R operator-(const R& o) const {
            R x;
            for (int i = 0; i < int(kBytes / sizeof(T)); ++i) x.v[i] = v[i] - o.v[i];
            return x;
        }
        R operator*(const R& o) const {
            R x;
            for (int i = 0; i < int(kBytes / sizeof(T)); ++i) x.v[i] = v[i] * o.v[i];
            return x;
        }
    };
    static R spread(T value) {
        R x;
        for (int i = 0; i < int(kBytes / sizeof(T)); ++i) x.v[i] = value;
        return x;
    }
#endif
    R r[kCount];

    static Pack zero() {
        Pack x;
        for (int i = 0; i < kCount; ++i) x.r[i] = R{};
        return x;
    }
    static Pack load(const T* p) {
        Pack x;
        for (int i = 0; i < kCount; ++i) std::memcpy(&x.r[i], p + i * int(kBytes / sizeof(T)), sizeof(R));
        return x;
    }
    void store(T* p) const {
        for (int i = 0; i < kCount; ++i) std::memcpy(p + i * int(kBytes / sizeof(T)), &r[i], sizeof(R));
    }
    void add(T a, const T* p) {
        const R factor = spread(a);
        for (int i = 0; i < kCount; ++i) {
            R x;
            std::memcpy(&x, p + i * int(kBytes / sizeof(T)), sizeof x);
            r[i] = r[i] + factor * x;
        }
    }
    void add(const Pack& a, const T* p) {
        for (int i = 0; i < kCount; ++i) {
            R x;
            std::memcpy(&x, p + i * int(kBytes / sizeof(T)), sizeof x);
            r[i] = r[i] + a.r[i] * x;
        }
    }
    void plus(const Pack& o) {
        for (int i = 0; i < kCount; ++i) r[i] = r[i] + o.r[i];
    }
    void minus(const T* p) {
        for (int i = 0; i < kCount; ++i) {
            R x;
            std::memcpy(&x, p + i * int(kBytes / sizeof(T)), sizeof x);
            r[i] = r[i] - x;
        }
    }
    void times(T a) {
        const R factor = spread(a);
        for (int i = 0; i < kCount; ++i) r[i] = factor * r[i];
    }
};

template <class T, int K>
void rows_of_block(const BlockRows<T>& A, std::int64_t lo, std::int64_t hi, const BlockStep<T>& s) {
    // Sums that do not wait for one another, as many as registers allow.
    constexpr int kSums = Pack<T, K>::kCount >= 4 ? 2 : 4;
    Pack<T, K> gamma = Pack<T, K>::zero();
    if (s.r != nullptr) gamma = Pack<T, K>::load(s.gamma);
    for (std::int64_t row = lo; row < hi; ++row) {
        std::int32_t k = A.indptr[row];
        const std::int32_t end = A.indptr[row + 1];
        Pack<T, K> sum[kSums];
        for (int i = 0; i < kSums; ++i) sum[i] = Pack<T, K>::zero();
        for (; k + kSums <= end; k += kSums)
            for (int i = 0; i < kSums; ++i)
                sum[i].add(A.values[k + i], s.c + static_cast<std::int64_t>(A.indices[k + i]) * K);
        for (; k < end; ++k) sum[0].add(A.values[k], s.c + static_cast<std::int64_t>(A.indices[k]) * K);
        for (int i = kSums / 2; i > 0; i /= 2)
            for (int j = 0; j < i; ++j) sum[j].plus(sum[j + i]);
        sum[0].times(s.beta);
        if (s.alpha != T(0)) sum[0].add(s.alpha, s.c + row * K);
        if (s.old != nullptr) sum[0].minus(s.old + row * K);
        if (s.r != nullptr) sum[0].add(gamma, s.r + row * K);
        sum[0].store(s.out + row * K);
    }
}

template <class T>
void block_rows(const BlockRows<T>& A, std::int64_t lo, std::int64_t hi, int columns, const BlockStep<T>& s) {
    if (columns == 16)
        rows_of_block<T, 16>(A, lo, hi, s);
    else if (columns == 8)
        rows_of_block<T, 8>(A, lo, hi, s);
    else
        rows_of_block<T, 4>(A, lo, hi, s);
}

constexpr BlockKernels block_kernels() { return {&block_rows<float>, &block_rows<double>}; }

}  // namespace
}  // namespace nnla
