"""Parse and print, nothing else."""
