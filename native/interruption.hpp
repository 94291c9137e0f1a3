// How a long call ends early: by a signal that Python handles, by a limit of time, or because another thread of the
// same call failed.
//
// Every long loop says with tick() how much it has done. Seldom enough not to be felt, a tick looks at the clock: the
// thread that was called from Python then asks Python for signals and compares with its deadline, the others look at
// a flag. What is found is thrown, so that all memory on the way is released.
#pragma once
#include <atomic>
#include <chrono>
#include <cstdint>

namespace nnla {

struct TimeLimit {};  // thrown in the calling thread when its deadline has passed
struct Stopped {};    // thrown in a part of a parallel job of which another part failed; ends there

// Operations, of about a nanosecond each, between two looks at the clock. The slowest operation that is counted as one
// (an entry far away in memory) takes some hundred nanoseconds.
constexpr std::int64_t kTicks = 200000;
constexpr std::chrono::milliseconds kBetweenSignals{20};

inline thread_local std::int64_t ticks_left = kTicks;

// Throws what ends the call. Not to be called directly but where a thread has waited.
void look();

// So many operations have been done since the last tick, or are about to be.
inline void tick(std::int64_t operations) {
    if ((ticks_left -= operations) <= 0) look();
}

// Ticks of a loop whose steps are too short to tick one by one.
class Ticker {
  public:
    void operator()(std::int64_t operations) {
        if ((done_ += operations) < kTicks / 8) return;
        tick(done_);
        done_ = 0;
    }

  private:
    std::int64_t done_ = 0;
};

// A call from Python on its way, in a variable of the thread that was called: without one, ticks do nothing.
class Call {
  public:
    Call();
    ~Call();
    Call(const Call&) = delete;
    Call& operator=(const Call&) = delete;

  private:
    friend void look();
    using Clock = std::chrono::steady_clock;
    void ask();

    Call* outer_;  // a handler of a signal may call the kernels again
    const std::atomic<bool>* outer_flag_;
    int outer_shields_;
    Clock::time_point next_{};  // time to ask for signals; not known before the first look
};

// While it lives, ticks of this thread end nothing: a few vector operations that belong together.
class Shield {
  public:
    Shield();
    ~Shield();
    Shield(const Shield&) = delete;
    Shield& operator=(const Shield&) = delete;
};

// While it lives, this thread works on a part of a job that ends when the flag is set.
class JobPart {
  public:
    explicit JobPart(const std::atomic<bool>& stopped);
    ~JobPart();
    JobPart(const JobPart&) = delete;
    JobPart& operator=(const JobPart&) = delete;

  private:
    const std::atomic<bool>* outer_;
};

// Deadline of the calls of this thread, so many seconds from now; infinity for none.
void set_deadline(double seconds);

// Asks Python for signals and throws what their handlers raise; set once, when the module is loaded.
void set_signal_check(void (*check)());

}  // namespace nnla
