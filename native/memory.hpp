// Aligned memory for matrices and vectors, on huge pages where the system has them.
#pragma once
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <new>
#include <utility>
#if defined(__linux__)
#include <sys/mman.h>
#endif
#if defined(_MSC_VER)
#include <malloc.h>
#endif

namespace nnla {

// A fixed-size array of plain values, aligned to cache lines and not initialised.
template <class T> class Array {
  public:
    Array() = default;
    explicit Array(std::size_t size) : size_(size) {
        if (size == 0) return;
        constexpr std::size_t page = std::size_t{2} << 20;
        const std::size_t bytes = size * sizeof(T);
        const std::size_t alignment = bytes >= 2 * page ? page : 64;
        const std::size_t rounded = (bytes + alignment - 1) / alignment * alignment;
        if (rounded / sizeof(T) < size) throw std::bad_alloc();
#if defined(_MSC_VER)
        data_ = static_cast<T*>(_aligned_malloc(rounded, alignment));
#else
        data_ = static_cast<T*>(std::aligned_alloc(alignment, rounded));
#endif
        if (data_ == nullptr) throw std::bad_alloc();
#if defined(__linux__)
        if (alignment == page) madvise(data_, rounded, MADV_HUGEPAGE);
#endif
    }
    Array(Array&& other) noexcept { swap(other); }
    Array& operator=(Array&& other) noexcept {
        swap(other);
        return *this;
    }
    Array(const Array&) = delete;
    Array& operator=(const Array&) = delete;
    ~Array() {
#if defined(_MSC_VER)
        _aligned_free(data_);
#else
        std::free(data_);
#endif
    }
    T* data() { return data_; }
    const T* data() const { return data_; }
    T& operator[](std::size_t i) { return data_[i]; }
    const T& operator[](std::size_t i) const { return data_[i]; }
    std::size_t size() const { return size_; }
    std::size_t bytes() const { return size_ * sizeof(T); }

  private:
    void swap(Array& other) noexcept {
        std::swap(data_, other.data_);
        std::swap(size_, other.size_);
    }
    T* data_ = nullptr;
    std::size_t size_ = 0;
};

// A vector whose entries before the first and after the last (up to a multiple of 16) can be read: run columns of
// a slice load 16 entries of which only some belong to the matrix. They are zero and stay so.
template <class T> class PaddedVector {
  public:
    static constexpr std::size_t kGuard = 256;
    PaddedVector() = default;
    explicit PaddedVector(std::size_t size) : memory_((size + 15) / 16 * 16 + 2 * kGuard), size_(size) {
        std::memset(memory_.data(), 0, kGuard * sizeof(T));
        std::memset(memory_.data() + kGuard + size, 0, (memory_.size() - kGuard - size) * sizeof(T));
    }
    T* data() { return memory_.data() + kGuard; }
    const T* data() const { return memory_.data() + kGuard; }
    std::size_t size() const { return size_; }
    void zero() {
        if (size_ > 0) std::memset(data(), 0, size_ * sizeof(T));
    }

  private:
    Array<T> memory_;
    std::size_t size_ = 0;
};

}  // namespace nnla
