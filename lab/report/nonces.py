"""Repeated nonces on the terminal: nothing else in a summary matters as much as a private key that is given away."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from rich.console import Console
from rich.padding import Padding
from rich.text import Text

from lab.report import words

PROVEN: Final = "Private keys that were given away"
SUSPECTED: Final = "Repeated nonces"


def show(arms: Mapping[str, Mapping[str, Any]], console: Console) -> None:
    """Prints, of each arm with repeated nonces, what they come to; nothing where there is none."""
    found = [(name, arm["nonces"]) for name, arm in arms.items() if (arm.get("nonces") or {}).get("repeated")]
    if not found:
        return
    proven = any(nonces["proven"] for _, nonces in found)
    console.print()
    console.print(Text(PROVEN if proven else SUSPECTED, style="bold red" if proven else "bold"))
    for name, nonces in found:
        console.print(Padding(_line(name, nonces), (0, 0, 0, 2)))
        console.print(Padding(Text(nonces["evidence"], style="dim"), (0, 0, 0, 4)))


def _line(name: str, nonces: Mapping[str, Any]) -> Text:
    share = f"{nonces['repeated']:,} of {words.counted(nonces['signatures'], 'signature')} repeat a nonce"
    if nonces["of"]:
        share += f", {nonces['processes']:,} of {words.counted(nonces['of'], 'child', 'children')} affected"
    line = Text.assemble("- ", (f"{name}: ", "bold"))
    if nonces["proven"]:
        return line.append("whoever sees two signatures has the private key", style="bold red").append(f": {share}")
    return line.append(f"{share}; no private key could be computed from them", style="yellow")
