"""State at run time: the state writer, crash recovery, residency of streams in memory or on disk."""
