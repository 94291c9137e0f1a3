// nnla.kernels._native: signals and limits of time in long calls (see nnla.kernels.interruption); errors of our own.
#include <limits>
#include <optional>
#include <nanobind/stl/optional.h>

#include "bind.hpp"
#include "threads.hpp"

using namespace nb::literals;

namespace nnla {
namespace {

// Python runs handlers of signals in its main thread only; the others need not wait for the interpreter's lock.
// Zero: not known yet. In a forked child the thread that forked is the main one.
thread_local int thread_is_main = 0;

void check_signals() {
    if (thread_is_main < 0) return;
    nb::gil_scoped_acquire lock;
    if (thread_is_main == 0) {
        const nb::module_ threading = nb::module_::import_("threading");
        const bool same = threading.attr("get_ident")().equal(threading.attr("main_thread")().attr("ident"));
        thread_is_main = same ? 1 : -1;
        if (!same) return;
    }
    if (PyErr_CheckSignals() != 0) nb::raise_python_error();
}

}  // namespace

void bind_interruption(nb::module_& m) {
    set_signal_check(check_signals);
    at_fork([] { thread_is_main = 0; });
    nb::register_exception_translator([](const std::exception_ptr& p, void*) {
        try {
            std::rethrow_exception(p);
        } catch (const TimeLimit&) {
            const nb::object error = nb::module_::import_("nnla.errors").attr("TimeLimitError");
            PyErr_SetString(error.ptr(), "the limit of time is over; allow more seconds, or a larger tolerance");
        } catch (const BadArrays& wrong) {
            PyErr_SetString(nb::module_::import_("nnla.errors").attr("ShapeError").ptr(), wrong.what());
        }
    });
    m.def(
        "set_deadline",
        [](std::optional<double> seconds) { set_deadline(seconds.value_or(std::numeric_limits<double>::infinity())); },
        "seconds"_a.none(), "From so many seconds on, calls of this thread raise TimeLimitError; None for no limit.");
}

}  // namespace nnla
