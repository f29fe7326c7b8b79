"""The commands about published weights."""

import os

import click
from rich.markup import escape

from ..errors import AnomalyError
from .exits import finish
from .terminal import byte_progress, complain, print_weights, say


@click.group()
def weights() -> None:
    """Published weights: what there is, and how to get it."""


@weights.command("list")
def weights_list() -> None:
    """What there is, from where, under which licence, and whether it is here."""
    from ..backbones.weights import registry

    print_weights(registry().values())
    say("mc3 needs no download: its weights come with the installation.")


@weights.command("fetch", no_args_is_help=True)
@click.argument("names", nargs=-1, required=True, metavar="NAME...")
def weights_fetch(names) -> None:
    """Download weights into the cache and verify them; a download that was cut off goes on."""
    from ..backbones.weights import fetch, published

    for item in [published(name) for name in names]:
        with byte_progress() as on_bytes:
            path = fetch(item.name, on_bytes)
        say(escape(f"{item.name}: {path}"))
        if not item.sha256:
            say(f"No hash of {item.name} is published: what came is recorded, and compared from now on.")


@weights.command("verify")
def weights_verify() -> None:
    """Compare the weights in the cache with their hashes."""
    from ..backbones.weights import registry, verify

    right = wrong = 0
    for item in registry().values():
        if not item.path.exists():
            say(f"{item.name}: not here")
            continue
        try:
            verify(item, item.path)
        except AnomalyError as error:
            wrong += 1
            complain(f"[red]{item.name}: wrong[/]  {escape(str(error))}")
        else:
            right += 1
            say(f"{item.name}: right")
    finish(failed=wrong, done=right)


@weights.command("path", no_args_is_help=True)
@click.argument("name")
def weights_path(name) -> None:
    """Where a file of weights is, or belongs if you bring it yourself."""
    from ..backbones.weights import published

    click.echo(os.fsencode(published(name).path))
