"""Labelled samples in a fixed order, each with a hash of its own."""

from chipdrift.data.load import load_data
from chipdrift.data.part import split_samples, take, write_part
from chipdrift.data.samples import Samples, count_overlap

__all__ = ["Samples", "count_overlap", "load_data", "split_samples", "take", "write_part"]
