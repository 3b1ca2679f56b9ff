"""The application under uvicorn: a stopping server takes no new connection and finishes what it accepted."""

from __future__ import annotations

import logging
import math
import sys

import uvicorn

from contextpruner.integrations.server.app import create_app
from contextpruner.integrations.server.json_log import LOG, JsonLines, log
from contextpruner.integrations.server.settings import ServerSettings
from contextpruner.pruner import ContextPruner

# seconds in which an open connection may say nothing
IDLE = 30


def run_server(pruner: ContextPruner, settings: ServerSettings, host: str = "127.0.0.1", port: int = 8000) -> None:
    """Serve until SIGINT or SIGTERM; log lines go to standard error."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonLines())
    for logger in (LOG, logging.getLogger("uvicorn.error")):
        logger.handlers, logger.propagate = [handler], False
        logger.setLevel(logging.INFO)
    config = uvicorn.Config(
        create_app(pruner, settings),
        host=host,
        port=port,
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_keep_alive=IDLE,
        timeout_graceful_shutdown=math.ceil(settings.shutdown_seconds),
    )
    log("starting", host=host, port=port, labeler=type(pruner.labeler).__name__, shadow=settings.shadow)
    uvicorn.Server(config).run()
