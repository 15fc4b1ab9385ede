"""A run's records for people: one HTML file that opens offline, and a table for the terminal."""

from chipdrift.report.page import write_report
from chipdrift.report.terminal import print_matrix

__all__ = ["print_matrix", "write_report"]
