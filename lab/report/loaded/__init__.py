"""A run folder for notebooks and scripts: `lab.load(path)` gives a Run, with types and DataFrames."""

from lab.report.loaded.arms import ArmSummary, Failure, Quantiles, Rule
from lab.report.loaded.columns import FRAMES, Column
from lab.report.loaded.place import find
from lab.report.loaded.run import Run, load

__all__ = ["FRAMES", "ArmSummary", "Column", "Failure", "Quantiles", "Rule", "Run", "find", "load"]
