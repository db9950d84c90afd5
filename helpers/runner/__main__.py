"""The command line: ``python -m helpers.runner book --profile laptop``."""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Sequence
from pathlib import Path

from helpers import files, settings
from helpers.runner import execute, html, pages, parameters, results, stage
from helpers.runner.book import Book


def say(line: object) -> None:
    """Print a line in one piece, as two chapters may speak at the same time."""
    print(f"{line}\n", end="", flush=True)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; 0 if all went well, 1 if a chapter or the HTML failed, 2 for a wrong request."""
    options = _parser().parse_args(arguments)
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s")
    book = Book(options.root.resolve())
    try:
        return options.command(book, options)
    except html.BookError as error:
        print(error, file=sys.stderr)
        return 1
    except (ValueError, FileNotFoundError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("stopped; finished chapters are kept", file=sys.stderr)
        return 130


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m helpers.runner", description="Builds the book.")
    parser.add_argument("--root", type=Path, default=settings.ROOT, help="the project's folder (default: this one)")
    commands = parser.add_subparsers(required=True, metavar="command")
    for name, command, text in (
        ("book", _book, "execute, stage and html"),
        ("execute", _execute, "run the chapters whose results are missing or old"),
        ("stage", _stage, "put pages together from results and prose"),
        ("html", _html, "make HTML of what is staged, and check it"),
        ("readme", _readme, "renew the generated blocks of README.md"),
        ("remember", _remember, "copy times and memory of the last runs into data/runs.json"),
    ):
        sub = commands.add_parser(name, help=text, description=text)
        sub.set_defaults(command=command)
        if name in ("book", "execute", "stage", "remember"):
            sub.add_argument("--profile", default="laptop", help="smoke, laptop, benchmark, paper or auto")
        if name in ("book", "execute"):
            _add_run_options(sub)
    return parser


def _add_run_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--only", action="append", default=[], metavar="NN", help="a chapter, by number or name")
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", help="a parameter of the chapters")
    parser.add_argument("--force", action="store_true", help="run also what has a good result")
    parser.add_argument("--jobs", type=int, choices=(1, 2), help="chapters at a time (default: 2 from 4 cores on)")


def _book(book: Book, options: argparse.Namespace) -> int:
    status = _execute(book, options)
    _stage(book, options)
    if html.build(book):
        say("the book is built")
    else:
        say("the book is unchanged")
    say(book.html / "index.html") if status == 0 else say("the book lacks the results of failed chapters")
    return status


def _execute(book: Book, options: argparse.Namespace) -> int:
    """Check everything that was asked for, then run."""
    profile = settings.profile(options.profile)
    chosen = book.select(options.only)
    values = parameters.for_chapters(book, chosen, profile.name, _pairs(options.set))
    outcomes = execute.run(book, values, profile=profile, force=options.force, jobs=options.jobs, say=say)
    failures = [outcome.failure for outcome in outcomes if outcome.failure]
    for failure in failures:
        print(f"\n{failure.report()}", file=sys.stderr)
    return 1 if failures else 0


def _pairs(texts: Sequence[str]) -> dict[str, str]:
    """Split ``name=value``."""
    for text in texts:
        if "=" not in text:
            raise ValueError(f"--set {text!r} is not of the form name=value")
    return {name.strip(): value.strip() for name, value in (text.split("=", 1) for text in texts)}


def _stage(book: Book, options: argparse.Namespace) -> int:
    states = stage.stage(book, settings.profile(options.profile))
    current = sum(state.current for state in states)
    say(f"staged {len(book.pages())} pages; {current} of {len(states)} chapters are up to date")
    return 0


def _html(book: Book, options: argparse.Namespace) -> int:
    say("the book is built" if html.build(book) else "the book is unchanged")
    say(book.html / "index.html")
    return 0


def _readme(book: Book, options: argparse.Namespace) -> int:
    path = book.root / "README.md"
    files.write_whole(path, pages.fill_readme(path.read_text(encoding="utf-8"), book))
    return 0


def _remember(book: Book, options: argparse.Namespace) -> int:
    profile = settings.profile(options.profile)
    for chapter in results.remember(book, profile.name):
        say(f"[{chapter}] kept in data/runs.json")
    return 0


if __name__ == "__main__":
    sys.exit(main())
