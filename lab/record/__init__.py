"""Rows to columns: formats, sealing, manifest, run folder."""
