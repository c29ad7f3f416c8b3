"""portway: self-hosted tunnels that speak the public ngrok agent protocol."""

__version__ = "0.1.0"
"""The same as in Cargo.toml; a constant, because reading package metadata takes longer than `portway version` may."""

COMPATIBLE_VERSION = "3.39.0"
"""The agent whose command line and configuration ours behaves like. Wrappers want a version that begins with 3."""
