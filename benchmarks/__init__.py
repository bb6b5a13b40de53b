"""`make bench`: Driftline beside its peers and beside a bare read of the same files. See docs/performance.md."""
