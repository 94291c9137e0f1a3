#include "interruption.hpp"

#include <cmath>

#include "steps.hpp"

namespace nnla {
namespace {

using Clock = std::chrono::steady_clock;

struct Here {
    Call* call = nullptr;
    const std::atomic<bool>* stopped = nullptr;  // of the job that this thread has a part of
    int shields = 0;
    Clock::time_point deadline = Clock::time_point::max();
    bool handling = false;  // what runs is called by a handler of a signal that a loop has looked for
};

thread_local Here here;
void (*check_signals)() = nullptr;

}  // namespace

void look() {
    ticks_left = kTicks;
    if (here.shields > 0) return;
    if (here.stopped != nullptr && here.stopped->load(std::memory_order_relaxed)) throw Stopped{};
    if (here.call != nullptr) here.call->ask();
}

void Call::ask() {
    const Clock::time_point now = Clock::now();
    if (now >= here.deadline) throw TimeLimit{};
    if (next_ == Clock::time_point{}) {
        next_ = now + kBetweenSignals;
    } else if (now >= next_ && check_signals != nullptr && !here.handling) {
        {
            // A handler is Python code, which must not find denormal numbers flushed. Loops that it calls leave the
            // next signal to Python: handlers of a timer faster than they are would pile up.
            const OrdinaryArithmetic ordinary;
            const struct Handling {
                Handling() { here.handling = true; }
                ~Handling() { here.handling = false; }
            } handling;
            check_signals();
        }
        next_ = Clock::now() + kBetweenSignals;
    }
}

Call::Call() : outer_(here.call), outer_flag_(here.stopped), outer_shields_(here.shields) {
    here.call = this;
    here.stopped = nullptr;
    here.shields = 0;
}

Call::~Call() {
    here.call = outer_;
    here.stopped = outer_flag_;
    here.shields = outer_shields_;
}

Shield::Shield() { ++here.shields; }
Shield::~Shield() { --here.shields; }

JobPart::JobPart(const std::atomic<bool>& stopped) : outer_(here.stopped) { here.stopped = &stopped; }
JobPart::~JobPart() { here.stopped = outer_; }

void set_deadline(double seconds) {
    // Beyond a century there is no deadline: the clock's arithmetic would overflow.
    if (!(seconds < 3e9)) {
        here.deadline = Clock::time_point::max();
        return;
    }
    const auto wait = std::chrono::duration<double>(std::fmax(seconds, 0.0));
    here.deadline = Clock::now() + std::chrono::duration_cast<Clock::duration>(wait);
}

void set_signal_check(void (*check)()) { check_signals = check; }

}  // namespace nnla
