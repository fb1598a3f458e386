"""What each command of `python -m lab` does."""
