#include "threads.hpp"

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <cstdlib>
#include <mutex>
#include <thread>
#include <vector>
#if defined(__linux__)
#include <pthread.h>
#include <sched.h>
#endif
#if defined(__x86_64__) || defined(_M_X64)
#include <immintrin.h>
#define NNLA_PAUSE() _mm_pause()
#else
#define NNLA_PAUSE() ((void)0)
#endif

namespace nnla {
namespace {

// A worker looks for the next job this often before it sleeps: about 20 microseconds, so that consecutive
// kernels do not pay for waking it, and other programs lose next to nothing.
constexpr int kSpins = 400;

class Pool {
  public:
    void run(int parts, const std::function<void(int)>& job, int threads) {
        grow(threads - 1);
        {
            std::lock_guard<std::mutex> lock(mutex_);
            job_ = &job;
            parts_ = parts;
            next_.store(0, std::memory_order_relaxed);
            left_.store(parts, std::memory_order_relaxed);
            wanted_ = threads - 1;
            generation_.fetch_add(1, std::memory_order_release);
        }
        wake_.notify_all();
        work(job, parts);
        for (int spin = 0; left_.load(std::memory_order_acquire) > 0 && spin < kSpins; ++spin) NNLA_PAUSE();
        // Nobody may still look at this job when it goes out of scope: parts done, and no worker inside.
        std::unique_lock<std::mutex> lock(mutex_);
        done_.wait(lock, [&] { return left_.load(std::memory_order_acquire) == 0 && inside_ == 0; });
        job_ = nullptr;
    }

    std::mutex in_use;

  private:
    void grow(int workers) {
        while (static_cast<int>(workers_.size()) < workers) {
            const int index = static_cast<int>(workers_.size());
            workers_.emplace_back([this, index] { loop(index); });
            workers_.back().detach();
        }
    }

    void work(const std::function<void(int)>& job, int parts) {
        for (int part; (part = next_.fetch_add(1, std::memory_order_relaxed)) < parts;) {
            job(part);
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

    std::mutex mutex_;
    std::condition_variable wake_, done_;
    std::vector<std::thread> workers_;
    const std::function<void(int)>* job_ = nullptr;
    int parts_ = 0, wanted_ = 0, inside_ = 0;
    std::atomic<int> next_{0}, left_{0};
    std::atomic<unsigned> generation_{0};
};

// Never destroyed: workers may still sleep in it when the interpreter exits. A forked child has no workers, and
// takes a new pool.
std::atomic<Pool*> pool{nullptr};
std::atomic<int> asked{0};

Pool& the_pool() {
    Pool* p = pool.load(std::memory_order_acquire);
    if (p == nullptr) {
        auto* fresh = new Pool;
        if (pool.compare_exchange_strong(p, fresh)) {
#if defined(__linux__)
            static std::once_flag once;
            std::call_once(once, [] { pthread_atfork(nullptr, nullptr, [] { pool.store(nullptr); }); });
#endif
            return *fresh;
        }
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
        std::unique_lock<std::mutex> mine(p.in_use, std::try_to_lock);
        if (mine.owns_lock()) {
            p.run(parts, job, threads);
            return;
        }
    }
    for (int part = 0; part < parts; ++part) job(part);
}

}  // namespace nnla
