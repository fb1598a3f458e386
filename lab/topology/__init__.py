"""Who runs: the coordinator's side of a trial."""
