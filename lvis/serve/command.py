"""`python -m lvis.serve`: a page on this machine that restores a clip while you watch.

The keys are in conf/serve.yaml, what the page can do and what it does not in docs/serve.md.
"""

import importlib.util
import socket
import webbrowser

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

from lvis.cli.config import entry, plain
from lvis.cli.progress import say
from lvis.errors import UserError
from lvis.serve.choices import Menu
from lvis.serve.settings import ServeSettings
from lvis.serve.wire import MOST_FRAME

_PASSED_ON = ("model", "vae", "device", "precision")


def serve(cfg: DictConfig) -> None:
    """Serve until interrupted.

    Raises:
        UserError: a key out of its range, an open address without a token, a port in use, or the
            extra is not installed.
    """
    for module in ("fastapi", "uvicorn", "websockets"):
        if importlib.util.find_spec(module) is None:
            raise UserError(f"{module} is not installed; run pip install 'lvis[serve]'")
    import uvicorn

    from lvis.serve.app import make_app

    settings = ServeSettings.of(plain(cfg), passed_on(HydraConfig.get().overrides.task))
    menu = Menu.read(settings.solvers, settings.passed_on, settings.max_pixels, settings.seed)
    listening = bound(settings.host, settings.port)
    address = url(settings, listening.getsockname()[1])
    say("loading the first solver")

    def ready() -> None:
        say(f"open {address} (Ctrl+C ends it)")
        if settings.browser:
            webbrowser.open(address)

    config = uvicorn.Config(
        make_app(settings, menu, ready),
        log_level="warning",
        access_log=False,
        server_header=False,
        ws_max_size=MOST_FRAME,
        ws_per_message_deflate=False,  # the blocks are JPEGs
        timeout_graceful_shutdown=2,
    )
    uvicorn.Server(config).run(sockets=[listening])


def bound(host: str, port: int) -> socket.socket:
    """A socket that listens already: pages that come while the solver loads wait for it.

    Raises:
        UserError: the address is not this machine's, or the port is in use.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=128)
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise UserError(
            f"cannot listen on {host}, port {port}: {reason}; choose another with port= or host="
        ) from error


def url(settings: ServeSettings, port: int) -> str:
    """The page's address, with its token."""
    host = f"[{settings.host}]" if ":" in settings.host else settings.host
    return f"http://{host}:{port}/" + (f"?token={settings.token}" if settings.token else "")


def passed_on(overrides: list[str]) -> tuple[str, ...]:
    """Those overrides of the command line that every restoration gets, too."""
    return tuple(o for o in overrides if o.lstrip("+").split("=")[0].split(".")[0] in _PASSED_ON)


main = entry("serve")(serve)
