// A hint that a cache line will be read soon; any address will do, even one out of bounds.
// A macro, and loops around it not in functions of their own: GCC takes such a function for one without effect,
// and drops the call.
#pragma once
#if defined(__GNUC__) || defined(__clang__)
#define NNLA_PREFETCH(address) __builtin_prefetch(address)
#elif defined(_MSC_VER) && (defined(_M_X64) || defined(_M_IX86))
#include <xmmintrin.h>
#define NNLA_PREFETCH(address) _mm_prefetch(reinterpret_cast<const char*>(address), _MM_HINT_T0)
#else
#define NNLA_PREFETCH(address) ((void)(address))
#endif
