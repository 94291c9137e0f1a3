"""Differential fuzz of everything public: right, an honest failure, or a named error; nothing else.

    python benchmarks/fuzz.py [--cases 100000] [--jobs 2] [--seed 0] [--kind solve ...] [--limit 10]
    python benchmarks/fuzz.py --replay solve:1234 [...]

Each case is one call with random input, a function of its kind and seed; it is made in a worker process, so that a
crash or a hang costs that case and no other. It is judged against LAPACK, closed forms and residuals in extended
precision. Prints a table of outcomes by kind and the failing cases; exit code 1 if there is any.

* right: checked, and it holds. stated: not converged, and the report says so. error: one of `nnla.errors`, where that
  is due;
* wrong: converged, and it does not hold; or a report that is not true. missed: an easy case refused or not solved;
* raw: another exception. warned: a warning that leaked. touched: an argument was changed. threads: other bits with two
  threads than with one. hang: no answer in ``limit`` seconds. crash: the process died.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from pathlib import Path

from fuzzing.cases import LIMIT, OUTCOMES
from fuzzing.kinds import KINDS, draw_cases
from fuzzing.workers import Tally, judge, run_all


def table(tally: Tally) -> str:
    """Outcomes by kind, as text."""
    lines = [f"{'':14s}" + "".join(f"{name:>8s}" for name in OUTCOMES) + f"{'ms/case':>9s}"]
    for kind, counter in sorted(tally.counts.items()):
        mean = 1e3 * tally.seconds[kind] / max(1, sum(counter.values()))
        lines.append(f"{kind:14s}" + "".join(f"{counter[name]:8d}" for name in OUTCOMES) + f"{mean:9.1f}")
    total = {name: sum(counter[name] for counter in tally.counts.values()) for name in OUTCOMES}
    return "\n".join([*lines, f"{'all':14s}" + "".join(f"{total[name]:8d}" for name in OUTCOMES)])


def main(arguments: list[str] | None = None) -> int:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", type=int, default=1000)
    parser.add_argument("--jobs", type=int, default=2, help="processes")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--kind", nargs="+", choices=sorted(KINDS), default=[], help="these kinds alone")
    parser.add_argument("--limit", type=float, default=LIMIT, help="seconds for one call")
    parser.add_argument("--replay", nargs="+", metavar="KIND:SEED", help="run these cases here, with details")
    parser.add_argument("--out", type=Path, help="write the failures to this file, a JSON object a line")
    args = parser.parse_args(arguments)
    if args.replay:
        return replay(args.replay, args.limit)
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ.setdefault(name, "1")  # for the processes, which are what runs side by side
    started = time.perf_counter()

    def progress(tally: Tally) -> None:
        if sys.stderr.isatty():
            rate = tally.total / (time.perf_counter() - started)
            text = f"\r{tally.total} of {args.cases}, {len(tally.failures)} failures, {rate:.0f} a second "
            print(text, end="", file=sys.stderr, flush=True)

    tally = run_all(draw_cases(args.cases, args.seed, tuple(args.kind)), args.jobs, args.limit, progress)
    seconds = time.perf_counter() - started
    print(f"\n{table(tally)}\n\n{tally.total} cases in {seconds:.0f} s, {tally.total / seconds:.0f} a second")
    for failure in sorted(tally.failures, key=lambda f: (f.kind, f.outcome, f.why)):
        print(f"{failure.outcome} {failure.name}  {failure.text}\n    {failure.why.strip()[-600:]}")
    if args.out is not None:
        lines = (json.dumps(vars(failure)) for failure in tally.failures)
        args.out.write_text("".join(f"{line}\n" for line in lines))
    return 1 if tally.failures else 0


def replay(names: list[str], limit: float) -> int:
    """Run cases by name in this process."""
    failed = False
    for name in names:
        kind, _, seed = name.partition(":")
        print(f"{name}: {KINDS[kind](int(seed)).text}", flush=True)
        result = judge(kind, int(seed), limit)
        print(f"    {result.outcome} after {result.seconds:.2f} s: {result.why}")
        failed = failed or result.outcome not in ("right", "stated", "error")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
