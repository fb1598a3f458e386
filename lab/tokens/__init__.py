"""Where keys live: provisioning a token, restoring it for each trial, and the environment that its module needs."""
