"""In which order: a scenario and its seed to a plan, and the instants at which operations are due. Pure."""

from lab.plan.instants import arrivals
from lab.plan.order import Plan, PlannedTrial, make

__all__ = ["Plan", "PlannedTrial", "arrivals", "make"]
