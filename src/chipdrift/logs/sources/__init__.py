"""One grammar file per source of log lines."""
