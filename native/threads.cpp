#include "threads.hpp"

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <chrono>
#include <cstdlib>
#include <exception>
#include <mutex>
#include <stdexcept>
#include <system_error>
#include <thread>
#include <vector>
#if defined(__linux__) || defined(__APPLE__)
#include <pthread.h>
#endif
#if defined(__linux__)
#include <sched.h>
#endif
#if defined(__x86_64__) || defined(_M_X64)
#include <immintrin.h>
#define NNLA_PAUSE() _mm_pause()
#else
#define NNLA_PAUSE() ((void)0)
#endif

#include "interruption.hpp"
#include "steps.hpp"

namespace nnla {
namespace {

// A worker looks for the next job this often before it sleeps: about 20 microseconds, so that consecutive
// kernels do not pay for waking it, and other programs lose next to nothing.
constexpr int kSpins = 400;

// While it waits for workers, the caller looks for signals this often.
constexpr std::chrono::milliseconds kLookWhileWaiting{10};
// What the caller counts for a job besides its own parts: workers may have taken them all, and their ticks look at a
// flag alone. At this rate the clock is looked at once in eight jobs, each of which takes some microseconds at least.
constexpr std::int64_t kTicksOfJob = kTicks / 8;
// Jobs between two attempts to start threads that the system refused.
constexpr int kJobsBeforeNextTry = 1000;

class Pool;
// Never destroyed: workers may still sleep in it when the interpreter exits. A forked child has no workers, and
// takes a new pool.
std::atomic<Pool*> pool{nullptr};

class Pool {
  public:
    // Whoever gets it runs the next job. Not a mutex, which no thread may try twice: a handler of a signal may call
    // the kernels from within a job.
    bool take() { return !taken_.exchange(true, std::memory_order_acquire); }
    void give() { taken_.store(false, std::memory_order_release); }

    void run(int parts, const std::function<void(int)>& job, int threads) {
        grow(threads - 1);
        {
            std::lock_guard<std::mutex> lock(mutex_);
            job_ = &job;
            parts_ = parts;
            stopped_.store(false, std::memory_order_relaxed);
            next_.store(0, std::memory_order_relaxed);
            left_.store(parts, std::memory_order_relaxed);
            wanted_ = threads - 1;
            generation_.fetch_add(1, std::memory_order_release);
        }
        wake_.notify_all();
        work(job, parts);
        for (int spin = 0; left_.load(std::memory_order_acquire) > 0 && spin < kSpins; ++spin) NNLA_PAUSE();
        // Nobody may still look at this job when it goes out of scope: parts done, and no worker inside.
        while (!finished()) {
            try {
                look();
            } catch (...) {
                fail();
            }
            // A handler of a signal forked: in the child nobody works on the parts that others had begun.
            if (pool.load() != this) throw std::runtime_error("forked within a computation; start it anew in the child");
        }
        if (stopped_.load(std::memory_order_relaxed)) {
            std::exception_ptr failure;
            std::swap(failure, failure_);
            std::rethrow_exception(failure);
        }
        tick(kTicksOfJob);
    }

  private:
    void grow(int workers) {
        if (static_cast<int>(workers_.size()) >= workers || (refused_ > 0 && --refused_ > 0)) return;
        try {
            while (static_cast<int>(workers_.size()) < workers) {
                const int index = static_cast<int>(workers_.size());
                workers_.reserve(static_cast<std::size_t>(workers));  // what is started must not be destroyed
                workers_.emplace_back([this, index] { loop(index); });
                workers_.back().detach();
            }
        } catch (const std::system_error&) {  // no thread to be had: those there are do the work
            refused_ = kJobsBeforeNextTry;
        } catch (const std::bad_alloc&) {
            refused_ = kJobsBeforeNextTry;
        }
    }

    // After a moment at most: whether the job is done.
    bool finished() {
        std::unique_lock<std::mutex> lock(mutex_);
        const auto done = [&] { return left_.load(std::memory_order_acquire) == 0 && inside_ == 0; };
        if (!done_.wait_for(lock, kLookWhileWaiting, done)) return false;
        job_ = nullptr;
        return true;
    }

    // The first failure is the one that counts; the others are its consequences.
    void fail() {
        if (!stopped_.exchange(true, std::memory_order_acq_rel)) failure_ = std::current_exception();
    }

    void work(const std::function<void(int)>& job, int parts) {
        const JobPart mine(stopped_);
        for (int part; (part = next_.fetch_add(1, std::memory_order_relaxed)) < parts;) {
            if (!stopped_.load(std::memory_order_relaxed)) {
                try {
                    job(part);
                } catch (...) {
                    fail();
                }
            }
            left_.fetch_sub(1, std::memory_order_acq_rel);
        }
    }

    void loop(int index) {
        unsigned seen = 0;
        for (;;) {
            for (int spin = 0; generation_.load(std::memory_order_acquire) == seen && spin < kSpins; ++spin)
                NNLA_PAUSE();
            const std::function<void(int)>* job;
            int parts;
            {
                std::unique_lock<std::mutex> lock(mutex_);
                wake_.wait(lock, [&] { return generation_.load(std::memory_order_relaxed) != seen; });
                seen = generation_.load(std::memory_order_relaxed);
                if (job_ == nullptr || index >= wanted_) continue;
                job = job_;
                parts = parts_;
                ++inside_;
            }
            work(*job, parts);
            std::lock_guard<std::mutex> lock(mutex_);
            --inside_;
            done_.notify_one();
        }
    }

    std::atomic<bool> taken_{false}, stopped_{false};
    std::mutex mutex_;
    std::condition_variable wake_, done_;
    std::vector<std::thread> workers_;
    const std::function<void(int)>* job_ = nullptr;
    std::exception_ptr failure_;
    int parts_ = 0, wanted_ = 0, inside_ = 0, refused_ = 0;
    std::atomic<int> next_{0}, left_{0};
    std::atomic<unsigned> generation_{0};
};

std::atomic<int> asked{0};
std::vector<void (*)()> fork_jobs;

Pool& the_pool() {
    Pool* p = pool.load(std::memory_order_acquire);
    if (p == nullptr) {
        auto* fresh = new Pool;
        if (pool.compare_exchange_strong(p, fresh)) return *fresh;
        delete fresh;
    }
    return *p;
}

int processors() {
#if defined(__linux__)
    cpu_set_t set;
    if (sched_getaffinity(0, sizeof set, &set) == 0) return std::max(1, CPU_COUNT(&set));
#endif
    return std::max(1u, std::thread::hardware_concurrency());
}

int from_environment() {
    for (const char* name : {"NNLA_NUM_THREADS", "OMP_NUM_THREADS"}) {
        const char* text = std::getenv(name);
        const int count = text == nullptr ? 0 : std::atoi(text);
        if (count > 0) return std::min(count, processors());
    }
    return processors();
}

}  // namespace

int max_threads() {
    static const int usual = from_environment();
    const int count = asked.load(std::memory_order_relaxed);
    return count > 0 ? count : usual;
}

void set_threads(int count) { asked.store(std::max(0, std::min(count, 256)), std::memory_order_relaxed); }

void parallel(int parts, const std::function<void(int)>& job) {
    const int threads = std::min(parts, max_threads());
    if (threads > 1) {
        Pool& p = the_pool();
        if (p.take()) {
            const struct Giver {
                Pool& pool;
                ~Giver() { pool.give(); }
            } giver{p};
            p.run(parts, job, threads);
            return;
        }
    }
    for (int part = 0; part < parts; ++part) job(part);
}

void at_fork(void (*job)()) { fork_jobs.push_back(job); }

void prepare_threads() {
    max_threads();
    isa();
#if defined(__linux__) || defined(__APPLE__)
    static bool done = false;  // under the interpreter's lock
    if (done) return;
    done = true;
    pthread_atfork(nullptr, nullptr, [] {
        pool.store(nullptr);
        for (const auto& job : fork_jobs) job();
    });
#endif
}

}  // namespace nnla
