"""In which order: a scenario and its seed to a plan, and the instants at which operations are due. Pure."""

from lab.plan.instants import arrivals
from lab.plan.order import Plan, PlannedTrial, make
from lab.plan.pilot import PILOT_BLOCKS, pilot_of

__all__ = ["PILOT_BLOCKS", "Plan", "PlannedTrial", "arrivals", "make", "pilot_of"]
