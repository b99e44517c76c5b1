"""Make, list and remove the tokens with which clients use `serve`."""

from __future__ import annotations

import argparse
import sys

from app.commands.options import add_settings_options, effective_settings
from app.errors import ExitCode
from app.service.packages import require_packages
from app.text import iso_time, program, table

DESCRIPTION = """Tokens let clients use `serve` from other machines. A token is shown once, when it is made; the file
keeps only its hash. A running server follows changes at once."""

EXAMPLES = """examples:
  python -m app tokens add kitchen-tablet
  python -m app tokens add home-assistant --scope enrol
  python -m app tokens list
  python -m app tokens remove kitchen-tablet
clients send it as `Authorization: Bearer TOKEN` or as `x-api-key: TOKEN`"""

SCOPES = {
    "read": "recognise and look",
    "enrol": "also add and change people",
    "admin": "everything",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    add = actions.add_parser("add", help="make a token and print it")
    add.add_argument("name", metavar="NAME", help="what uses it")
    add.add_argument(
        "--scope",
        choices=tuple(SCOPES),
        default="read",
        help="; ".join(f"{scope}: {purpose}" for scope, purpose in SCOPES.items()) + " (default: read)",
    )
    listing = actions.add_parser("list", help="list the tokens, and when each was used last")
    remove = actions.add_parser("remove", help="remove a token; its client is refused from then on")
    remove.add_argument("name", metavar="NAME")
    for action in (add, listing, remove):
        add_settings_options(action, sections=())


def execute(arguments: argparse.Namespace) -> int:
    path = effective_settings(arguments).settings.serve.tokens
    require_packages()
    # Imported late, so that --help works without the packages of `serve`.
    from app.service.shared_state import SharedState
    from app.service.tokens import add_token, read_tokens, remove_token

    if arguments.action == "add":
        # Only the token is for standard output, from which scripts take it.
        print(add_token(path, arguments.name, arguments.scope))
        print(
            f"{arguments.name} has the scope {arguments.scope} ({SCOPES[arguments.scope]}). "
            "This is the only time that the token is shown.",
            file=sys.stderr,
        )
    elif arguments.action == "remove":
        remove_token(path, arguments.name)
        print(f"removed {arguments.name}")
        if not read_tokens(path):
            print(
                "that was the last token: programs are refused until there is another. A browser can still log in, "
                "with the address that `serve` prints when it starts. To let all programs of this machine in without a "
                f"token, delete {path} and restart `serve`",
                file=sys.stderr,
            )
    else:
        tokens = read_tokens(path)
        if not tokens:
            print(f"no tokens in {path}; make one with: {program()} tokens add NAME", file=sys.stderr)
        used = SharedState.next_to(path).read().used
        rows = [
            (token.name, token.scope, token.created, iso_time(used[token.sha256]) if token.sha256 in used else "never")
            for token in tokens
        ]
        if rows:
            print(table(("name", "scope", "made", "used last"), rows))
    return ExitCode.DONE
