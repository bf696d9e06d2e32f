"""Write the reference in docs/command-line.md from the commands themselves: python docs/commands.py."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import click

PAGE = Path(__file__).parent / "command-line.md"
BEGIN = "<!-- From here on written by docs/commands.py: `make commands`. -->\n"


def commands(command: click.Command, context: click.Context) -> Iterator[tuple[click.Command, click.Context]]:
    """The command itself, then those below it, each with the context that knows its full name."""
    yield command, context
    if isinstance(command, click.Group):
        for name in command.list_commands(context):
            if child := command.get_command(context, name):
                yield from commands(child, click.Context(child, info_name=name, parent=context))


def section(command: click.Command, context: click.Context) -> str:
    """Heading, usage, help and options of one command, in Markdown."""
    arguments = [argument(one) for one in command.params if isinstance(one, click.Argument)]
    options = [one for one in command.params if isinstance(one, click.Option) and not one.hidden]
    below = ["COMMAND ..."] if isinstance(command, click.Group) else []
    usage = " ".join([context.command_path, *(["[OPTIONS]"] if options else []), *arguments, *below])
    parts = [f"### {context.command_path}", f"    {usage}", paragraphs(command.help or "")]
    if options:
        parts.append("\n".join(["| option | meaning |", "|---|---|", *map(row, options)]))
    return "\n\n".join(parts) + "\n"


def argument(one: click.Argument) -> str:
    """As usage shows it; written here, because releases of click write it in different ways."""
    name = one.metavar or (one.name or "").upper()
    return name if one.required or name.startswith("[") else f"[{name}]"


def row(option: click.Option) -> str:
    choices = option.type.choices if isinstance(option.type, click.Choice) else ()
    value = "" if option.is_flag else f" {option.metavar or option.type.name.upper()}"
    notes = [option.help or "", f"One of {', '.join(map(str, choices))}." if choices else ""]
    notes += [f"By default {option.default}." if option.show_default else ""]
    return f"| `{', '.join(option.opts)}{value}` | {' '.join(filter(None, notes))} |"


def paragraphs(text: str) -> str:
    return "\n\n".join(" ".join(part.split()) for part in text.split("\n\n"))


def reference() -> str:
    from timeseries.cli import main

    top = click.Context(main, info_name="timeseries")
    return "\n".join(section(command, context) for command, context in commands(main, top))


def page() -> str:
    """The page as it should be: what is written by hand, then the reference."""
    return f"{PAGE.read_text().partition(BEGIN)[0]}{BEGIN}\n{reference()}"


if __name__ == "__main__":
    PAGE.write_text(page())
