"""One operation at a time. In: the package's own parts. Out: CPU time, for people; instructions, for `bench.guard`."""
