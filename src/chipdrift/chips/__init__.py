"""The catalogue of chips: facts with a source each, and what the vendor's simulator does for them.

``facts.csv`` holds public facts, made by ``scripts/make_chip_facts.py``. ``simulator.csv`` holds
the simulator's own answers for every QNN ``soc_model``, made by ``scripts/measure_simulator.py``.
``phone_pairs.csv`` says how far public phones agreed, made by ``scripts/make_phone_pairs.py``.
"""

from chipdrift.chips.catalogue import all_chips, simulated_chips, simulator_id
from chipdrift.chips.chip import Chip, Fact
from chipdrift.chips.phones import PhonePair, phone_pairs
from chipdrift.chips.recognize import recognize, same_silicon
from chipdrift.chips.search import find_chips, get_chip
from chipdrift.chips.simulator import SimulatorRow, simulator_rows, simulator_versions

__all__ = [
    "Chip",
    "Fact",
    "PhonePair",
    "SimulatorRow",
    "all_chips",
    "find_chips",
    "get_chip",
    "phone_pairs",
    "recognize",
    "same_silicon",
    "simulated_chips",
    "simulator_id",
    "simulator_rows",
    "simulator_versions",
]
