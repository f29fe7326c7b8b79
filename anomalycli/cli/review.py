"""The command `review`: serve pages and write the verdicts that are given on them."""

from pathlib import Path

import click

from ..errors import UsageError, cause
from .command import FOLDER, Command, option
from .terminal import say


@click.command(cls=Command, no_args_is_help=True)
@click.argument("pages", type=FOLDER)
@option(
    "--host", default="127.0.0.1", show_default=True, help="Address to listen on. The default is this machine only."
)
@option("--port", type=click.IntRange(0, 65535), default=0, show_default="a free one", help="Port to listen on.")
def review(pages: Path, host: str, port: int) -> None:
    """Serve the pages in PAGES, and save your verdicts.

    PAGES is a folder; verdicts are written into it.

    \b
      anomalycli score camera/ --html -o pages/
      anomalycli review pages/

    Open the printed address in a browser. Each verdict is written to PAGES/labels.csv, which `train` reads, and to
    PAGES/verdicts.json at once. Only browsers that have the address can see the pages. Stop with Ctrl-C.
    """
    from ..export.review import ReviewServer

    try:
        server = ReviewServer(pages, host, port)
    except OSError as error:
        raise UsageError(f"{host}:{port}: cannot listen there ({cause(error)}).", "host", "port") from error
    if host not in ("127.0.0.1", "localhost", "::1"):
        say(f"Anyone who has this address and can reach {host} sees the pages; the connection is not encrypted.")
    click.echo(server.url)
    say("Open this address in a browser. Verdicts are saved at once; Ctrl-C stops.")
    try:
        server.serve_forever()
    except KeyboardInterrupt:
        say(f"Verdicts: {pages / 'labels.csv'}")
    finally:
        server.server_close()
