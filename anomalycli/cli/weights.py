"""The command group `weights`: list, download and verify the weights of backbones."""

import os

import click

from ..errors import AnomalyError
from .exits import finish
from .progress import byte_progress
from .tables import print_weights
from .terminal import fault, say


@click.group()
def weights() -> None:
    """List, download and verify the published weights of backbones."""


@weights.command("list")
def weights_list() -> None:
    """List the weights with their source and licence, and whether they are downloaded."""
    from ..backbones.weights import registry

    print_weights(registry().values())
    say("lite and mc3 need no download: their weights are installed with the package.")


@weights.command("fetch", no_args_is_help=True)
@click.argument("names", nargs=-1, required=True, metavar="NAME...")
def weights_fetch(names) -> None:
    """Download weights into the cache and verify them. Interrupted downloads resume."""
    from ..backbones.weights import fetch, published

    for item in [published(name) for name in names]:
        with byte_progress() as on_bytes:
            path = fetch(item.name, on_bytes)
        say(f"{item.name}: {path}")
        if not item.sha256:
            say(f"No hash of {item.name} is published: the hash of this download is recorded and compared from now on.")


@weights.command("verify")
def weights_verify() -> None:
    """Compare the downloaded weights with their hashes."""
    from ..backbones.weights import registry, verify

    right = wrong = 0
    for item in registry().values():
        if not item.path.exists():
            say(f"{item.name}: not downloaded")
            continue
        try:
            verify(item, item.path)
        except AnomalyError as error:
            wrong += 1
            fault(f"{item.name}: wrong", str(error))
        else:
            right += 1
            say(f"{item.name}: correct")
    finish(failed=wrong, done=right)


@weights.command("path", no_args_is_help=True)
@click.argument("name")
def weights_path(name) -> None:
    """Print the path of a weights file, or where to put it if you download it yourself."""
    from ..backbones.weights import published

    click.echo(os.fsencode(published(name).path))
