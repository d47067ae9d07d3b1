"""Times of the operations of the engine beside yardsticks, taken in turns; `benchmarks/run` starts it."""
