"""Columns to facts. Pure."""
