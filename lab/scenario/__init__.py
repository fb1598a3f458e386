"""What to run: TOML files to frozen, validated scenarios."""
