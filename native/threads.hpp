// A small pool of threads for the kernels: no barrier inside a job, idle workers sleep.
#pragma once
#include <functional>

namespace nnla {

// Threads that `parallel` may use at most: set_threads, else NNLA_NUM_THREADS, else OMP_NUM_THREADS, else the
// processors this process may run on.
int max_threads();
void set_threads(int count);  // 0: back to the default

// Calls job(0) ... job(parts - 1), each once, on up to max_threads() threads, and returns when all are done.
// The calls must not wait for one another: where the pool is in use by another caller, where the system has no thread
// left, or in a forked child that has no workers yet, they may run one after the other on the calling thread.
//
// A job may throw: what is thrown first comes out of `parallel`, the ticks of the other parts end them, and parts not
// begun are left out. While it waits for others, the calling thread looks for signals and the limit of time.
void parallel(int parts, const std::function<void(int)>& job);

// When the module is loaded: afterwards nothing is made for the first time, which another thread could fork into.
void prepare_threads();

// Called in the child after a fork, in the thread that forked.
void at_fork(void (*job)());

}  // namespace nnla
