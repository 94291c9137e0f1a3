// What every bind_*.cpp shares: array types as the functions take and return them.
#pragma once
#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>

#include <cstdint>
#include <memory>

#include "interruption.hpp"

namespace nb = nanobind;

namespace nnla {

template <class T> using Input = nb::ndarray<const T, nb::ndim<1>, nb::c_contig, nb::device::cpu>;
template <class T> using Output = nb::ndarray<T, nb::ndim<1>, nb::c_contig, nb::device::cpu>;

// A call that may take long: without the interpreter's lock, and with an eye on signals and the limit of time.
struct LongCall {
    nb::gil_scoped_release release;
    Call call;
};

// A new NumPy vector that owns its memory.
template <class T> nb::ndarray<nb::numpy, T, nb::ndim<1>> new_vector(std::size_t size, T** data) {
    T* memory = new T[size];
    nb::capsule owner(memory, [](void* p) noexcept { delete[] static_cast<T*>(p); });
    *data = memory;
    return nb::ndarray<nb::numpy, T, nb::ndim<1>>(memory, {size}, owner);
}

}  // namespace nnla
