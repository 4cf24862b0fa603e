"""``python -m pysock``: run a program over pysock, see a demonstration, list the plugins."""

from __future__ import annotations

import argparse
import sys

from pysock._version import __version__

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from pysock.core.net import Net

#: How a program is named when it is no file.
_KINDS = {"-m": "module", "-c": "code"}
_WITH_VALUE = (
    "--clock", "--seed", "--pcap", "--plugin", "--driver", "--tap-name", "--address", "--gateway",
)  # fmt: skip


def main(argv: Sequence[str] | None = None) -> int:
    """The command line; returns the exit status, or raises the SystemExit of the program that it ran."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    if arguments[:1] == ["demo"]:
        # It has options of its own.
        from pysock.tools.demo import main as demo

        return int(demo(arguments[1:]) or 0)
    program: list[str] = []
    if arguments[:1] == ["run"]:
        at = _program_start(arguments)
        arguments, program = arguments[:at], arguments[at:]
    parser = _parser()
    options = parser.parse_args(arguments)
    if options.command == "run":
        return _run(parser, options, program)
    if options.command == "plugins":
        return _plugins()
    parser.print_help()
    return 0


def _program_start(arguments: list[str]) -> int:
    """Where our own options end: at -m, at -c, or at the first word that is no option and no option's value."""
    at = 1
    while at < len(arguments):
        word = arguments[at]
        if word[:2] in _KINDS or not word.startswith("-") or word == "-":
            break
        at += 2 if word in _WITH_VALUE else 1
    return at


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m pysock", description="A Linux-shaped network stack inside one Python process."
    )
    parser.add_argument("--version", action="version", version=f"pysock {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND")
    run = commands.add_parser(
        "run",
        help="run a program whose sockets are pysock's",
        usage="python -m pysock run [--clock real|virtual] [--seed N] [--pcap FILE] [--plugin MODULE] "
        "[--driver tap|tun --tap-name NAME --address ADDRESS/LENGTH ... [--gateway ADDRESS]] "
        "(SCRIPT | -m MODULE | -c CODE) [ARGUMENTS]",
        description="Run an unmodified program as __main__; all that follows it are its own arguments.",
    )
    run.add_argument("--clock", choices=("real", "virtual"), default="real", help="virtual: waiting costs nothing")
    run.add_argument("--seed", type=int, help="fixes everything that is left to chance")
    run.add_argument("--pcap", metavar="FILE", help="capture all packets (pcapng)")
    run.add_argument("--plugin", metavar="MODULE", action="append", default=[], help="load this plugin too")
    run.add_argument("--driver", choices=("tap", "tun"), help="connect to the real system (docs/tap.md)")
    run.add_argument("--tap-name", metavar="NAME", help="the real device, made if there is none")
    run.add_argument("--address", action="append", default=[], help="of our end, such as 10.77.0.2/24 or fd77::2/64")
    run.add_argument("--gateway", action="append", default=[], help="where to send what is for no network of ours")
    commands.add_parser("demo", help="watch an HTTP exchange walk through the stack", add_help=False)
    commands.add_parser("plugins", help="list the plugins and what became of them")
    return parser


def _run(parser: argparse.ArgumentParser, options: argparse.Namespace, program: list[str]) -> int:
    kind = "script"
    if program and program[0][:2] in _KINDS:
        flag, glued = program[0][:2], program[0][2:]
        kind = _KINDS[flag]
        program = [glued, *program[1:]] if glued else program[1:]
    if not program:
        parser.error("run: name a script, or give -m MODULE or -c CODE")
    from pysock.shim.runner import run

    return run(
        program,
        kind=kind,
        clock=options.clock,
        seed=options.seed,
        pcap=options.pcap,
        plugins=options.plugin,
        uplink=_uplink(parser, options),
    )


def _uplink(parser: argparse.ArgumentParser, options: argparse.Namespace) -> Callable[[Net], object] | None:
    """What makes the device that --driver asks for; None without one. Wrong options end the process here."""
    if options.driver is None:
        if options.tap_name or options.address or options.gateway:
            parser.error("run: --tap-name, --address and --gateway go with --driver")
        return None
    if options.clock != "real":
        parser.error(f"run: --driver {options.driver} connects to real time, so it needs --clock real")
    from pysock.shim.real import inet_pton
    from pysock.shim.uplink import bring_up, parse_address
    from pysock.uapi.socket import AF_INET, AF_INET6

    try:
        addresses = [parse_address(text) for text in options.address]
    except ValueError as exc:
        parser.error(f"run: {exc}")
    gateways = []
    for text in options.gateway:
        try:
            gateways.append(inet_pton(AF_INET6 if ":" in text else AF_INET, text))
        except OSError:
            parser.error(f"run: --gateway is an address, such as 10.77.0.1 or fd77::1, not {text!r}")
    if not addresses:
        parser.error("run: --driver needs an --address, such as 10.77.0.2/24")

    def uplink(net: Net) -> None:
        try:
            bring_up(net, "tap", options.tap_name, addresses, gateways, tap=options.tap_name, mode=options.driver)
        except OSError as exc:
            sys.stderr.write(f"pysock run: {exc.strerror}\n")
            sys.exit(1)

    return uplink


def _plugins() -> int:
    """One line for each plugin; status 1 when one of them failed."""
    from pysock.core.kernel import Kernel

    failed = False
    for record in Kernel.boot(log=lambda text: None).plugins.report():
        cause = f": {record.cause}" if record.cause else ""
        print(f"{record.name:32} {record.distribution or 'built in'} {record.version or ''} {record.state}{cause}")
        failed = failed or record.state in ("failed", "conflict")
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
