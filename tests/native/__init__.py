"""The native part: the tap, its rows, and the modules that the tests put behind it."""
