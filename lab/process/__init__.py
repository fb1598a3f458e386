"""What processes set for themselves, see of others, and start beside them: for trials, and for questions to a token."""
