"""All benchmarks, one after the other, as they come: `python -m benchmarks`."""

from __future__ import annotations

from benchmarks import audit, compression, confinement, journal, listing, memory, reading
from benchmarks.corpus import __main__ as corpus
from benchmarks.function import __main__ as function
from benchmarks.streaming import __main__ as streaming

BENCHMARKS = (
    *(listing, streaming, memory, journal, reading, compression),
    *(function, confinement, corpus, audit),
)

if __name__ == "__main__":
    for benchmark in BENCHMARKS:
        print(f"\n## {benchmark.__name__}\n", flush=True)
        benchmark.main()
