"""`tus-conformance --url URL`: judge any server of TUS 1.0 from outside.

Exit codes: 0 no MUST clause is broken, 1 one is, 2 wrong usage, 3 something could not be judged.
"""

import argparse
import asyncio
import sys
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import urlsplit

from .exchange import NoAnswer, Unreachable
from .registry import EXTENSIONS
from .reporting import EXIT_NOT_JUDGED, as_json_text, as_text, exit_status
from .running import all_clauses, ask_offer, judge
from .subject import Terms


def main(arguments: Sequence[str] | None = None) -> int:
    options = _parser().parse_args(arguments)
    if options.list:
        for clause in all_clauses():
            print(f"{clause.id:<40} {clause.level!s:<6} {clause.section}: {clause.text}")
        return 0
    return asyncio.run(_judge(options))


async def _judge(options: argparse.Namespace) -> int:
    terms = Terms(options.url, tuple(options.header), options.timeout, options.patience)
    clauses = [clause for clause in all_clauses() if not options.only or clause.id.startswith(tuple(options.only))]
    try:
        offer = await ask_offer(terms)
    except (Unreachable, NoAnswer) as error:
        print(f"{options.url} cannot be judged: {error}", file=sys.stderr)
        return EXIT_NOT_JUDGED
    results = await judge(terms, offer, options.extensions, clauses)
    print(as_text(options.url, offer, results, all_passes=options.verbose))
    if options.json is not None:
        options.json.write_text(as_json_text(options.url, offer, results), encoding="utf-8")
    return exit_status(results)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="tus-conformance", description="Judge a server of TUS 1.0 from outside.")
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--url", type=_url, help="where uploads are created, such as http://127.0.0.1:8080/files")
    what.add_argument("--list", action="store_true", help="show all clauses and judge nobody")
    parser.add_argument(
        "--extensions",
        type=_extensions,
        metavar="A,B",
        help="judge these, announced or not, instead of those that the server announces",
    )
    parser.add_argument(
        "--only", action="append", metavar="ID", help="judge the clauses whose id begins so; repeatable"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write everything to this file as well")
    parser.add_argument(
        "--header", type=_field, action="append", default=[], metavar="'NAME: VALUE'", help="send it with every request"
    )
    parser.add_argument("--timeout", type=_seconds, default=10.0, metavar="S", help="for one request (10)")
    parser.add_argument(
        "--patience", type=_seconds, default=5.0, metavar="S", help="for idle timeouts and expiry, which take long (5)"
    )
    parser.add_argument("--verbose", action="store_true", help="a line for each clause that is kept or skipped, too")
    return parser


def _url(text: str) -> str:
    parts = urlsplit(text)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise argparse.ArgumentTypeError(f"{text!r} is not like http://127.0.0.1:8080/files")
    return text


def _extensions(text: str) -> tuple[str, ...]:
    names = tuple(name.strip() for name in text.split(",") if name.strip())
    strange = [name for name in names if name not in EXTENSIONS]
    if strange:
        raise argparse.ArgumentTypeError(f"{', '.join(strange)}: not among {', '.join(EXTENSIONS)}")
    return names


def _field(text: str) -> tuple[str, str]:
    name, colon, value = text.partition(":")
    if not colon or not name.strip() or not text.isprintable():
        raise argparse.ArgumentTypeError(f"{text!r} is not like 'Authorization: Bearer abc'")
    return name.strip(), value.strip()


def _seconds(text: str) -> float:
    seconds = float(text)
    if not 0 < seconds < 3600:
        raise argparse.ArgumentTypeError(f"{text} is not between 0 and 3600")
    return seconds


if __name__ == "__main__":
    sys.exit(main())
