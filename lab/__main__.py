"""`python -m lab`: one file per command in lab/commands; what each needs is imported when it runs."""

from __future__ import annotations

import sys
from io import TextIOWrapper
from pathlib import Path
from typing import Any

import click

from lab.errors import LabFault, ScenarioError

EXIT_FAULT, EXIT_BAD_INPUT, EXIT_INTERRUPTED = 1, 2, 130


class Lab(click.Group):
    """A first word that is no command is a scenario file to run."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and args[0] not in self.commands:
            return "run", self.commands["run"], args
        return super().resolve_command(ctx, args)

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        own = {"--help", "--version"}
        if args and args[0].startswith("-") and args[0] not in own:
            args = ["run", *args]  # `python -m lab --quiet x.toml`
        return super().parse_args(ctx, args)


@click.group(cls=Lab, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="pkcs11-context-lab", prog_name="lab")
def lab() -> None:
    """The PKCS#11 context lab: process and thread topologies on a token, measured.

    \b
    python -m lab SCENARIO.toml     run a scenario, judge it, show what came out
    """


_page = click.option(
    "--report/--no-report",
    "page",
    default=None,
    help="Write report.html. Default: yes, but not with --quiet.",
)


@lab.command()
@click.argument("scenario", type=click.Path(path_type=Path))
@click.option("--out", type=click.Path(path_type=Path), help="The run folder itself. Default: a new one in results/.")
@click.option("--set", "overrides", multiple=True, metavar="KEY=VALUE", help="Override any key, as load.duration_s=1.")
@click.option("--dry-run", is_flag=True, help="Print the plan and stop.")
@click.option("--quiet", is_flag=True, help="No progress and no summary: the exit status and the run folder only.")
@_page
def run(
    scenario: Path, out: Path | None, overrides: tuple[str, ...], dry_run: bool, quiet: bool, page: bool | None
) -> int:
    """Run a scenario, judge it, and show what came out."""
    from lab.commands.run import run as run_scenario

    return run_scenario(scenario, out, overrides, dry_run, quiet, page)


@lab.command()
@click.argument("run_folder", metavar="RUN", type=click.Path(path_type=Path))
@click.option("--page/--no-page", default=True, help="Whether to write report.html, report.md and figures/, too.")
def report(run_folder: Path, page: bool) -> int:
    """Rebuild what a run folder says: summary.json, tables, report.html and figures. Needs no token."""
    from lab.commands.report import report as rebuild_and_show

    return rebuild_and_show(run_folder, page)


@lab.command()
@click.argument("first", metavar="RUN", type=click.Path(path_type=Path))
@click.argument("second", metavar="RUN", type=click.Path(path_type=Path))
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    help="A new folder for compare.json, report.html, report.md, figures and tables. Default: none is written.",
)
def compare(first: Path, second: Path, out: Path | None) -> int:
    """The same scenario in two run folders (two machines, two module versions): the second against the first."""
    from lab.commands.compare import compare as compare_runs

    return compare_runs(first, second, out)


@lab.command(context_settings={"ignore_unknown_options": False, "allow_interspersed_args": False})
@click.option("--out", type=click.Path(path_type=Path), help="The run folder itself. Default: a new one in results/.")
@click.option(
    "--module",
    type=click.Path(path_type=Path),
    help="The PKCS#11 library. Default: $PKCS11_MODULE_PATH, $PKCS11_PROVIDER_MODULE, or SoftHSM.",
)
@click.option(
    "--bridge",
    type=click.Choice(["engine", "provider"]),
    help="What the openssl.cnf for the program activates. Default: engine where the command names one, else provider.",
)
@click.option("--quiet", is_flag=True, help="No words on what is done and no summary: the run folder only.")
@_page
@click.argument("command", nargs=-1, required=True)
def trace(
    out: Path | None,
    module: Path | None,
    bridge: str | None,
    quiet: bool,
    page: bool | None,
    command: tuple[str, ...],
) -> int:
    """Run any program under the tap, and check the rules on what its processes called.

    \b
    python -m lab trace -- pkcs11-tool --module /usr/lib/softhsm/libsofthsm2.so -L
    """
    from lab.commands.trace import trace as trace_command

    return trace_command(command, out, module, bridge, quiet, page)


@lab.command()
@click.option(
    "--token", metavar="KIND", help="A token that the lab sets up: softhsm, nss, ... (`python -m lab tokens`)."
)
@click.option("--over", metavar="KIND", help="With p11kit-proxy, p11kit-remote: the token behind p11-kit.")
@click.option("--reset-on-fork", is_flag=True, help="With softhsm, or over it: its library.reset_on_fork.")
@click.option("--module", type=click.Path(path_type=Path), help="Any other PKCS#11 library, by its path.")
@click.option("--token-label", help="--module: label of the token to use.")
@click.option("--pin-env", metavar="NAME", help="--module: environment variable that holds the user PIN.")
@click.option("--pin-file", type=click.Path(path_type=Path), help="--module: file that holds the user PIN.")
@click.option("--key-label", help="--module: label of a private key that may sign. Default: nothing is signed.")
@click.option("--key", metavar="KIND", help="Kind of the key: ec-p256 (default), ec-p384, rsa-2048, ...")
@click.option("--init-string", help="--module: text given to C_Initialize in pReserved.")
@click.option("--environment", multiple=True, metavar="NAME=VALUE", help="--module: variable that the module needs.")
@click.option(
    "--provision", is_flag=True, help="--module: allow a key, gone afterwards, and session objects to be made."
)
@click.option("--out", type=click.Path(path_type=Path), help="The folder itself. Default: a new one in results/.")
@click.option("--only", multiple=True, metavar="LINE", help="Only this line, or group of lines.")
@click.option("--skip", multiple=True, metavar="LINE", help="Not this line, or group of lines.")
@click.option("--most-sessions", type=int, metavar="N", help="Sessions to open at most. Default 1024; --module: 64.")
@click.option("--timeout-s", type=float, default=60.0, metavar="S", help="Seconds of the whole probe. Default 60.")
@click.option("--expect-conforming", is_flag=True, help="Exit status 3 where anything violates.")
@click.option("--quiet", is_flag=True, help="No progress and no table: the exit status and the folder only.")
def probe(**options: Any) -> int:
    """How one module behaves under fork and threads: what the standard says, what was seen, and a verdict, per line.

    \b
    python -m lab probe --token softhsm
    python -m lab probe --module /usr/lib/x.so --token-label L --pin-env X_PIN --key-label K
    """
    from lab.commands.probe import probe as probe_command
    from lab.commands.probe_options import Options

    return probe_command(Options(**options))


@lab.command()
@click.option("--quick", is_flag=True, help="Seconds instead of minutes; the result is not stored.")
@click.option("--only", multiple=True, metavar="PART", help="Only this part; the result is not stored.")
@click.option("--keep", type=click.Path(path_type=Path), help="A new folder for the runs. Default: they are removed.")
@click.option("--quiet", is_flag=True, help="No progress and no table: the exit status and what failed only.")
def calibrate(quick: bool, only: tuple[str, ...], keep: Path | None, quiet: bool) -> int:
    """What the lab itself costs on this machine, and how well it recovers answers that are known.

    \b
    Parts: floor, tap, service, stall, queue, count, same
    """
    from lab.commands.calibrate import Options
    from lab.commands.calibrate import calibrate as calibrate_command

    return calibrate_command(Options(quick, only, keep, quiet))


@lab.command()
def tokens() -> int:
    """Which token kinds and bridges work here, and what to install for the others."""
    from lab.commands.tokens import tokens as show_tokens

    return show_tokens()


@lab.command()
def schema() -> int:
    """Print the JSON Schema of scenario files, for editors."""
    import json

    from lab.scenario import schema as scenario_schema

    click.echo(json.dumps(scenario_schema(), indent=2))
    return 0


def main() -> None:
    """The entry point: exceptions become one line and an exit status."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):  # what the terminal has no letter for must not end the lab
            stream.reconfigure(errors="replace")
    try:
        status = lab.main(prog_name="python -m lab", standalone_mode=False)
    except click.ClickException as error:
        error.show()
        status = EXIT_BAD_INPUT
    except click.exceptions.Abort:
        status = EXIT_INTERRUPTED
    except ScenarioError as error:
        click.echo(f"error: {error}", err=True)
        status = EXIT_BAD_INPUT
    except (LabFault, OSError) as error:  # OSError: a full disk, where nothing closer to it had a better word
        click.echo(f"lab fault: {error}", err=True)
        status = EXIT_FAULT
    sys.exit(status or 0)


if __name__ == "__main__":
    main()
