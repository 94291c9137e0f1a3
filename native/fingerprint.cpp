#include "fingerprint.hpp"

#include <algorithm>
#include <cstring>
#include <initializer_list>

#include "interruption.hpp"

namespace nnla {
namespace {

using Word = std::uint64_t;

constexpr std::size_t kStripe = 4 * sizeof(Word);
constexpr std::size_t kPiece = std::size_t{1} << 18;  // bytes between two ticks
constexpr Word kOdd = 0x9e3779b97f4a7c15u;            // 2^64 by the golden ratio

// One to one in the state for a given word, and in the word for a given state: no difference is lost.
inline Word absorb(Word state, Word word) {
    const Word mixed = (state ^ word) * kOdd;
    return mixed ^ (mixed >> 29);
}

inline Word word_at(const std::uint8_t* bytes) {
    Word word;
    std::memcpy(&word, bytes, sizeof(Word));
    return word;
}

// The finaliser of MurmurHash3: every bit of the state comes to bear on every other.
inline Word stirred(Word x) {
    x = (x ^ (x >> 33)) * 0xff51afd7ed558ccdu;
    x = (x ^ (x >> 33)) * 0xc4ceb9fe1a85ec53u;
    return x ^ (x >> 33);
}

}  // namespace

std::uint64_t fingerprint(const std::uint8_t* bytes, std::size_t count, std::uint64_t seed) {
    // Four lanes side by side, so that no multiplication waits for the one before it; by name, to stay in registers.
    Word a = seed + kOdd, b = seed + 3 * kOdd, c = seed + 5 * kOdd, d = seed + 7 * kOdd;
    std::size_t i = 0;
    while (i + kStripe <= count) {
        const std::size_t end = std::min(count - kStripe, i + kPiece);
        tick(static_cast<std::int64_t>(kPiece / 16));
        for (; i <= end; i += kStripe) {
            a = absorb(a, word_at(bytes + i));
            b = absorb(b, word_at(bytes + i + 8));
            c = absorb(c, word_at(bytes + i + 16));
            d = absorb(d, word_at(bytes + i + 24));
        }
    }
    Word state = stirred(seed ^ count);
    for (const Word lane : {a, b, c, d}) state = stirred(absorb(state, lane));
    for (; i < count; i += sizeof(Word)) {
        Word word = 0;
        std::memcpy(&word, bytes + i, std::min(sizeof(Word), count - i));
        state = stirred(absorb(state, word));
    }
    return state;
}

bool same_bytes(const void* a, const void* b, std::size_t count) {
    const char *p = static_cast<const char*>(a), *q = static_cast<const char*>(b);
    for (std::size_t i = 0; i < count; i += kPiece) {
        const std::size_t part = std::min(kPiece, count - i);
        tick(static_cast<std::int64_t>(part / 8));
        if (std::memcmp(p + i, q + i, part) != 0) return false;
    }
    return true;
}

}  // namespace nnla
