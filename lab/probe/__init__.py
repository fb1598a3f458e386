"""`lab probe`: one module, examined in throw-away processes line by line of what the standard says."""
