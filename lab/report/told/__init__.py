"""A run in words and tables, as Markdown: what notebooks show and what reports are made of."""

from lab.report.told.markdown import Told

__all__ = ["Told"]
