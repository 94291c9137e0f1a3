// Work space that an object keeps between calls, for any number of calls at a time.
#pragma once
#include <atomic>
#include <memory>
#include <utility>

namespace nnla {

// A call takes a work space out and puts it back; where all are out, it makes its own. Nobody waits for anybody: not
// for another thread, not for the call that a handler of a signal has come into, and in a forked child not for a
// thread that is not there any more. What was out when the process forked is lost to the child, no more.
template <class Work> class Spare {
  public:
    Spare() = default;
    Spare(const Spare&) = delete;
    Spare& operator=(const Spare&) = delete;
    ~Spare() {
        for (auto& slot : slots_) delete slot.load(std::memory_order_relaxed);
    }

    std::unique_ptr<Work> take() {
        for (auto& slot : slots_)
            if (Work* found = slot.exchange(nullptr, std::memory_order_acquire)) return std::unique_ptr<Work>(found);
        return nullptr;
    }

    void give(std::unique_ptr<Work> work) {
        for (auto& slot : slots_) {
            Work* none = nullptr;
            if (work && slot.compare_exchange_strong(none, work.get(), std::memory_order_release)) work.release();
        }
    }

    // A work space for which `fits` holds, or a new one from `make`, until the end of the scope.
    class Lease {
      public:
        template <class Fits, class Make>
        Lease(Spare& spare, const Fits& fits, const Make& make) : spare_(spare), work_(spare.take()) {
            if (!work_ || !fits(*work_)) {
                work_.reset();  // before another one is made
                work_ = make();
            }
        }
        ~Lease() { spare_.give(std::move(work_)); }
        Lease(const Lease&) = delete;
        Lease& operator=(const Lease&) = delete;
        Work& operator*() { return *work_; }
        Work* operator->() { return work_.get(); }

      private:
        Spare& spare_;
        std::unique_ptr<Work> work_;
    };

  private:
    std::atomic<Work*> slots_[4] = {};
};

}  // namespace nnla
