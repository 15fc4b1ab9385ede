"""The selector in Python: ``chipdrift_bundle.py`` alone, without chipdrift."""
