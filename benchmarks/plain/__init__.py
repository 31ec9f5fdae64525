"""Networks written the plain way, as the official code is: what the benchmarks compare with."""
