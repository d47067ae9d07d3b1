"""Learn from partitioned logs on many processes or machines, with Dask (extra ``distributed``)."""

from procedural_memory.distributed.job import PartitionReport, PartitionsLearned, learn_partitions

__all__ = ["PartitionReport", "PartitionsLearned", "learn_partitions"]
