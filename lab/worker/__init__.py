"""Inside the tree of a trial: forks, policies, and calls of the native loops."""
