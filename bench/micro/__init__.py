"""One operation at a time, in CPU time. In: the package's own parts. Out: figures, for people and for `bench.guard`."""
