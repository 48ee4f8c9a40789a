"""`apollo demo`: opens the page in a browser."""

from __future__ import annotations

import argparse
import gc
import importlib.util
import os
import socket
from collections.abc import Sequence
from pathlib import Path

from apollo.catalog import card_of
from apollo.errors import SettingError
from apollo.startup import collector_paused
from apollo.terminal import add_model_flags, check_extra, guarded, model_options, write


def add_flags(parser: argparse.ArgumentParser) -> None:
    env = os.environ.get
    add_model_flags(parser)
    # a Space is started without flags
    parser.set_defaults(model=env("APOLLO_MODEL", "nano"), adapter=env("APOLLO_ADAPTER"))
    parser.add_argument(
        "--host",
        default=env("GRADIO_SERVER_NAME", "127.0.0.1"),
        help="address to serve at; 0.0.0.0 lets other machines in (default %(default)s)",
    )
    parser.add_argument(
        "--port",
        type=int,
        default=env("GRADIO_SERVER_PORT", "7860"),
        help="port to serve at (default %(default)s)",
    )
    parser.add_argument(
        "--share", action="store_true", help="also make a public link, for up to a week"
    )
    parser.add_argument(
        "--mcp",
        action="store_true",
        help="also offer /ask as an MCP tool, for videos with a public address",
    )


def main(argv: Sequence[str]) -> int:
    """`python app.py`, which is `apollo demo` under the name a Hugging Face Space starts."""
    parser = argparse.ArgumentParser(prog="python app.py", description="Open the page.")
    add_flags(parser)
    args = parser.parse_args(argv)
    return guarded(lambda: run(args))


def run(args: argparse.Namespace) -> None:
    """Checks what can be checked at once, then serves until it is stopped.

    Raises:
        ApolloError: one plain sentence; the page is not open or no longer open.
    """
    check_extra("apollo demo", "demo", "gradio", "spaces")
    if args.mcp:
        check_mcp()
    card_of(args.model)
    if args.adapter:
        from apollo.adapters.files import read_adapter  # imports torch, which --help must not

        check_extra("--adapter", "adapters", "peft")
        read_adapter(Path(args.adapter))
    check_address(args.host, args.port)
    serve(args)


def check_mcp() -> None:
    if importlib.util.find_spec("mcp") is None:
        import gradio as gr

        raise SettingError(
            f'--mcp needs one more package: pip install "gradio[mcp]=={gr.__version__}".'
        )


def check_address(host: str, port: int) -> None:
    """Gradio reports a taken port with a traceback; this is the same as a sentence."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        if not port:
            raise OverflowError("port must be 1-65535")
        socket.create_server((host, port), family=family).close()
    except (OSError, OverflowError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise SettingError(
            f"The page cannot be opened at {host}:{port} ({reason.lower()}); choose another "
            "--port or --host."
        ) from None


def serve(args: argparse.Namespace) -> None:
    """Opens the page, then loads the model, then waits until the server is stopped."""
    with collector_paused():
        from apollo.demo.page import ASSETS, HEAD, MAX_THREADS, MAX_UPLOAD, THEME, demo
        from apollo.demo.worker import ZERO_GPU, host

    options = model_options(args)
    if ZERO_GPU:  # it keeps the weights that are on "cuda" when the page opens
        host.load(**options | {"device": args.device or "cuda"})
    demo.launch(
        server_name=args.host,
        server_port=args.port,
        share=args.share,
        mcp_server=args.mcp,
        prevent_thread_lock=True,
        quiet=True,  # its advice is about Python
        max_file_size=MAX_UPLOAD,
        max_threads=MAX_THREADS,
        show_error=False,
        run_history=False,  # would keep what visitors ask in their browser
        footer_links=["api", "settings"],
        ssr_mode=False,
        theme=THEME,
        css_paths=[ASSETS / "demo.css"],
        head=HEAD,
    )
    write(f"The page is at {demo.local_url} (Ctrl-C ends it).\n")
    if not host.ready.is_set():
        host.load(**options)
    gc.freeze()  # what is there now stays; a look through all of it would stop every answer
    demo.block_thread()
