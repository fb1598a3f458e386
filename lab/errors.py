"""The two exceptions of the lab. Everything that a device does wrong is a row, not an exception."""

from __future__ import annotations


class ScenarioError(Exception):
    """The user's input cannot be run: exit status 2.

    The message is one line that names the file, the key and what is allowed there.
    """


class LabFault(Exception):
    """The lab itself failed, or the machine under it (full disk, no more processes): exit status 1."""
