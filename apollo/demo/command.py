"""`apollo demo`: opens the page in a browser."""

from __future__ import annotations

import argparse
import importlib.util
import os
import socket
from collections.abc import Sequence

import apollo
from apollo.terminal import ADAPTER_HELP, DEVICE_HELP, MODEL_HELP, guarded


def add_flags(parser: argparse.ArgumentParser) -> None:
    env = os.environ.get
    parser.add_argument("--model", default=env("APOLLO_MODEL", "nano"), help=MODEL_HELP)
    parser.add_argument("--adapter", help=ADAPTER_HELP)
    parser.add_argument("--device", help=DEVICE_HELP)
    parser.add_argument(
        "--host",
        default=env("GRADIO_SERVER_NAME", "127.0.0.1"),
        dest="host_name",
        help="address to serve at; 0.0.0.0 lets other machines in (default %(default)s)",
    )
    parser.add_argument(
        "--port",
        type=int,
        default=env("GRADIO_SERVER_PORT", "7860"),
        help="port to serve at (default %(default)s)",
    )
    parser.add_argument("--share", action="store_true", help="also make a public link for 72 hours")
    parser.add_argument(
        "--mcp",
        action="store_true",
        help="also offer /ask as an MCP tool, for videos with a public address",
    )


def run(args: argparse.Namespace) -> None:
    serve(**{k: v for k, v in vars(args).items() if k != "run"})


def main(argv: Sequence[str]) -> int:
    """`python app.py`, which is `apollo demo` under the name a Hugging Face Space starts."""
    parser = argparse.ArgumentParser(prog="python app.py", description="Open the page.")
    add_flags(parser)
    args = parser.parse_args(argv)
    return guarded(lambda: run(args))


def check_address(host_name: str, port: int) -> None:
    """Gradio reports a taken port with a traceback; this is the same as a sentence."""
    family = socket.AF_INET6 if ":" in host_name else socket.AF_INET
    try:
        if not port:
            raise OverflowError("port must be 1-65535")
        socket.create_server((host_name, port), family=family).close()
    except (OSError, OverflowError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise apollo.SettingError(
            f"The page cannot be opened at {host_name}:{port} ({reason.lower()}); choose another "
            "--port or --host."
        ) from None


def serve(
    model: str,
    device: str | None,
    host_name: str,
    port: int,
    share: bool,
    mcp: bool,
    adapter: str | None = None,
) -> None:
    """Opens the page, then loads the model, then waits until the server is stopped."""
    import gradio as gr

    from apollo.demo.page import ASSETS, MAX_UPLOAD, THEME, demo, host

    if mcp and importlib.util.find_spec("mcp") is None:
        raise apollo.SettingError(
            f'--mcp needs one more package: pip install "gradio[mcp]=={gr.__version__}".'
        )
    check_address(host_name, port)
    demo.launch(
        server_name=host_name,
        server_port=port,
        share=share,
        mcp_server=mcp,
        prevent_thread_lock=True,
        max_file_size=MAX_UPLOAD,
        show_error=False,
        run_history=False,  # would keep what visitors ask in their browser
        footer_links=["api", "settings"],
        ssr_mode=False,
        theme=THEME,
        css_paths=[ASSETS / "demo.css"],
    )
    if not host.ready.is_set():
        host.start(model, device=device, adapter=adapter)
    demo.block_thread()
