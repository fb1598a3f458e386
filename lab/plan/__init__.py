"""In which order: a scenario and a seed to a plan. Pure."""
