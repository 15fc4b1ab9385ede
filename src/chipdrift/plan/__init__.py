"""From measurement to decision: for each chip the cheapest variant that keeps the accuracy."""
