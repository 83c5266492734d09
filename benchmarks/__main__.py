"""All benchmarks, one after the other, as they come: `python -m benchmarks`."""

from __future__ import annotations

from benchmarks import audit, confinement, extract, journal, listing, memory, reading
from benchmarks.corpus import __main__ as corpus
from benchmarks.function import __main__ as function

if __name__ == "__main__":
    for benchmark in (
        listing,
        extract,
        memory,
        journal,
        reading,
        function,
        confinement,
        corpus,
        audit,
    ):
        print(f"\n## {benchmark.__name__}\n", flush=True)
        benchmark.main()
