"""Real servers: what each needs, the configuration that makes it use the token, and what its log tells afterwards."""
