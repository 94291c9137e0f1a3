// Numbers too small to be normal are taken as zero while one of these lives (on the calling thread).
#pragma once
#if defined(__SSE2__) || defined(_M_X64)
#include <immintrin.h>
#define NNLA_MXCSR 1
#endif

namespace nnla {

// Substitutions decay exponentially away from where a vector lives, and arithmetic on the denormal numbers at the end
// takes a hundred times as long.
class FlushDenormals {
  public:
#if defined(NNLA_MXCSR)
    explicit FlushDenormals(bool wanted) : saved_(_mm_getcsr()) {
        if (wanted) _mm_setcsr(saved_ | 0x8040u);  // flush to zero, denormals are zero
    }
    ~FlushDenormals() { _mm_setcsr(saved_); }
#elif defined(__aarch64__) && defined(__GNUC__)
    explicit FlushDenormals(bool wanted) {
        asm volatile("mrs %0, fpcr" : "=r"(saved_));
        if (wanted) asm volatile("msr fpcr, %0" : : "r"(saved_ | (1ull << 24)));
    }
    ~FlushDenormals() { asm volatile("msr fpcr, %0" : : "r"(saved_)); }
#else
    explicit FlushDenormals(bool) : saved_(0) {}
#endif
    FlushDenormals(const FlushDenormals&) = delete;
    FlushDenormals& operator=(const FlushDenormals&) = delete;

  private:
#if defined(__aarch64__) && defined(__GNUC__) && !defined(NNLA_MXCSR)
    unsigned long long saved_;
#else
    unsigned saved_;
#endif
};

}  // namespace nnla
