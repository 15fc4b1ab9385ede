"""One metric per file: ``<name>.py`` holds its ``METRIC``."""
