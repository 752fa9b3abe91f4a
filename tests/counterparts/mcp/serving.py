"""Serves an ASGI application on a free port of 127.0.0.1 for as long as the parent lives."""

import json
import os
import socket
import sys
import threading

import uvicorn


class _AnnouncedServer(uvicorn.Server):
    """Prints the ready line once requests are served, not before."""

    async def startup(self, sockets=None):
        await super().startup(sockets=sockets)
        port = sockets[0].getsockname()[1]
        print(json.dumps({"port": port, "url": f"http://127.0.0.1:{port}/mcp"}), flush=True)


def serve(application):
    """Runs `application` until stdin, whose other end the parent holds, is closed."""
    threading.Thread(target=_exit_with_parent, daemon=True).start()
    listener = socket.create_server(("127.0.0.1", 0))
    configuration = uvicorn.Config(application, log_level="warning")
    _AnnouncedServer(configuration).run(sockets=[listener])


def _exit_with_parent():
    sys.stdin.buffer.read()
    os._exit(0)
