// What every bind_*.cpp shares: array types as the functions take and return them, checks of CSR arrays, long calls.
#pragma once
#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>

#include <cstdint>
#include <memory>
#include <stdexcept>

#include "interruption.hpp"

namespace nb = nanobind;

namespace nnla {

// An array of NumPy (or of whatever speaks DLPack) as it is: of this type and byte order, contiguous, aligned, and for
// outputs writable. Anything else is a TypeError, never a copy, which would be gone after the call while C++ keeps a
// pointer, or would take the result with it. nnla.kernels.arrays makes such arrays. The object holds a reference: who
// keeps the pointer keeps the object.
template <class T, std::size_t D> struct Strict : nb::ndarray<T, nb::ndim<D>, nb::c_contig, nb::device::cpu> {
    using Base = nb::ndarray<T, nb::ndim<D>, nb::c_contig, nb::device::cpu>;
    Strict() = default;
    explicit Strict(const Base& array) : Base(array) {}
};

template <class T> using Input = Strict<const T, 1>;
template <class T> using Output = Strict<T, 1>;
template <class T> using InputBlock = Strict<const T, 2>;
template <class T> using OutputBlock = Strict<T, 2>;

using Indices = Input<std::int32_t>;
using Values = Input<double>;

enum class Columns { any, ascending };

// What a caller handed in does not fit together: nnla.errors.ShapeError.
struct BadArrays : std::invalid_argument {
    using std::invalid_argument::invalid_argument;
};

// Throws BadArrays unless these are rows of a CSR matrix: indptr starts at 0 and never decreases, the
// indices reach as far, lie in 0 ... columns - 1, and strictly ascend in every row where that is asked for. Everything
// that follows indices runs behind this check (or checks.hpp's). Returns the stored entries.
std::int64_t require_rows(const Indices& indptr, const Indices& indices, std::int64_t columns, Columns order);

// The same of the row pointers alone, for what checks the columns that it reads by itself.
void require_pointers(const Indices& indptr, const Indices& indices, const Values& data);

// Rows that the array has: its entries less one.
std::int64_t rows_of(const Indices& indptr);

// The same for a matrix that is square.
void require_square(const Indices& indptr, const Indices& indices, Columns order);
void require_square(const Indices& indptr, const Indices& indices, const Values& data, Columns order);

// Throws BadArrays(what) unless it holds.
void require(bool holds, const char* what);

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

namespace nanobind::detail {

template <class T, std::size_t D> struct type_caster<nnla::Strict<T, D>> {
    using Given = typename nnla::Strict<T, D>::Base;
    using Array = nnla::Strict<T, D>;
    NB_TYPE_CASTER(Array, make_caster<Given>::Name)

    template <class Flags> bool from_python(handle source, Flags flags, cleanup_list* cleanup) noexcept {
        make_caster<Given> given;
        if (source.is_none()) return false;
        if (!given.from_python(source, static_cast<Flags>(flags & ~Flags(cast_flags::convert)), cleanup)) return false;
        value = Array(given.value);
        return value.size() == 0 || reinterpret_cast<std::uintptr_t>(value.data()) % alignof(T) == 0;
    }
};

}  // namespace nanobind::detail
