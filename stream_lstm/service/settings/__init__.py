"""Settings: one TOML file, overridden by environment variables."""
