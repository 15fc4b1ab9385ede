"""Releases of a vendor's SDK, each kept in a folder of its own and fetched when first needed."""

from chipdrift.sdk.pins import Pin, elsewhere, get_pin, known_pins
from chipdrift.sdk.shelf import Shelf, current_shelf, nothing_fetched, sdks_in

__all__ = [
    "Pin",
    "Shelf",
    "current_shelf",
    "elsewhere",
    "get_pin",
    "known_pins",
    "nothing_fetched",
    "sdks_in",
]
