"""What integers and small floats do: the rules of docs/numerics.md as code."""

# Bump when an answer of the engine changes: stored results are then made again.
ENGINE = "3"
