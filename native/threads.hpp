// A small pool of threads for the kernels: no barrier inside a job, idle workers sleep.
#pragma once
#include <functional>

namespace nnla {

// Threads that `parallel` may use at most: set_threads, else NNLA_NUM_THREADS, else OMP_NUM_THREADS, else the
// processors this process may run on.
int max_threads();
void set_threads(int count);  // 0: back to the default

// Calls job(0) ... job(parts - 1), each once, on up to max_threads() threads, and returns when all are done.
// The calls must not wait for one another: where the pool is in use by another caller (or in a forked child
// that has no workers yet) they may run one after the other on the calling thread. job must not throw.
void parallel(int parts, const std::function<void(int)>& job);

}  // namespace nnla
