"""waitress, which serves a Flask application: its limits, and how it ends.

A sender that takes longer than SENDING seconds over one request is cut off.
waitress gives a thread only to a request that has come as a whole, so no other
request waits for a slow one.
"""

import ctypes
import errno
import gc
import json
import logging
import os
import signal
import socket
import time
import warnings
from contextlib import suppress
from ipaddress import ip_address

from flask import Flask
from PIL import Image
from waitress import wasyncore
from waitress.adjustments import Adjustments
from waitress.channel import HTTPChannel
from waitress.server import TcpWSGIServer
from waitress.task import ErrorTask, WSGITask

from shared.console import fail, say, table, warn

from .replies import own_names_only

SENDING = 10  # seconds in which a request must have come as a whole
IDLE = 30  # seconds that a connection is kept open without a request
CALLING = 0.2  # seconds in which who has just called is still let in
COMING = 0.4  # seconds in which the rest of a request may still come in
ENDING = 1.2  # seconds in which the requests in flight are answered
SPOOLED = 64 * 1024 * 1024  # bytes of a request that are put up with, on disk
CONNECTIONS = 300  # fewer where a process may open fewer files
M_MMAP_THRESHOLD = -3  # of glibc's malloc.h
LIMITS = {
    "threads": 4,
    "channel_timeout": IDLE,
    "cleanup_interval": 1,
    "max_request_body_size": SPOOLED,
    "asyncore_use_poll": hasattr(socket, "AF_UNIX"),
    "ident": None,
}


class _JsonError(ErrorTask):
    """What is no HTTP is refused as the application refuses: in JSON."""

    def execute(self) -> None:
        error = self.request.error
        # an unknown Transfer-Encoding is the sender's fault, not ours
        code = 400 if error.code == 501 else error.code
        self.status = f"{code} {error.reason}"
        body = json.dumps({"error": f"{error.reason}: {error.body}."}).encode()
        self.response_headers.append(("Content-Type", "application/json"))
        self.set_close_on_finish()
        self.content_length = len(body)
        self.write(body)


class _Task(WSGITask):
    def start(self) -> None:
        super().start()
        if self.channel.server.ending:  # no next request on this connection
            self.set_close_on_finish()


class _Channel(HTTPChannel):
    """A connection that knows when the request that is coming in began."""

    task_class = _Task
    error_task_class = _JsonError
    began = 0.0

    def received(self, data: bytes) -> bool:
        if self.request is None:
            self.began = time.monotonic()
        return super().received(data)

    def is_late(self) -> bool:
        waiting = self.request is not None and not self.requests
        return waiting and time.monotonic() - self.began > SENDING


class _Server(TcpWSGIServer):
    channel_class = _Channel
    ending = False

    def maintenance(self, now: float) -> None:
        super().maintenance(now)
        for channel in self.active_channels.values():
            if channel.is_late():
                channel.will_close = True

    def in_flight(self) -> int:
        """Requests that have come as a whole, and aren't answered."""
        return sum(
            len(channel.requests) + (channel.total_outbufs_len > 0)
            for channel in list(self.active_channels.values())
        )

    def coming(self) -> int:
        """Requests of which only a part has come."""
        channels = list(self.active_channels.values())
        return sum(channel.request is not None for channel in channels)


def listen(host: str, port: int) -> socket.socket:
    """A socket that listens; or the command ends and says why it can't."""
    try:
        (family, *_, address), *_ = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )
        return socket.create_server(address, family=family, backlog=1024)
    except socket.gaierror:
        fail(f"There is no host {host}.", "leave --host out")
    except OSError as error:
        why = os.strerror(error.errno)
        if error.errno == errno.EADDRINUSE:
            problem = f"Port {port} of {host} is in use."
            other = port + 1 if port < 65535 else 8000
            fail(problem, f"take another one: --port {other}")
        if error.errno in (errno.EACCES, errno.EPERM):
            fail(f"Can't take port {port}: {why}.", "try --port 8000")
        fail(f"Can't listen at {host}: {why}.", "leave --host out")


def _greet(card: dict[str, str], listening: socket.socket) -> None:
    """Say which network is served, where, and to whom."""
    table(["this network", ""], card.items())
    host, port = listening.getsockname()[:2]
    if not _is_loopback(listening):
        warn(
            f"{host} is no loopback address: whoever reaches this machine over "
            "its network can use the server. It asks for no password and "
            "encrypts nothing."
        )
    name = f"[{host}]" if ":" in host else host
    say(f"Open http://{name}:{port}/  Ctrl-C ends it.")
    say("How it works: ", "python cli.py serve --explain")


def run(
    application: Flask,
    listening: socket.socket,
    card: dict[str, str],
) -> int:
    """Serve, and say what is served, until Ctrl-C or SIGTERM.

    At a loopback address, only this machine's own names are answered to: a
    hostile page in the browser here can let a name of its own point to it.

    Then nothing new is accepted, and the requests in flight are answered.
    Returns the command's exit code, as shells number a signal.
    """
    logging.getLogger("waitress.queue").setLevel(logging.ERROR)
    _give_memory_back()
    warnings.simplefilter("ignore", Image.DecompressionBombWarning)
    stopped: list[int] = []
    before = {
        stop: signal.signal(stop, lambda number, _: stopped.append(number))
        for stop in (signal.SIGINT, signal.SIGTERM)
    }
    if _is_loopback(listening):
        application.before_request(own_names_only)
    sockets: dict[int, wasyncore.dispatcher] = {}
    server = _Server(
        application,
        map=sockets,
        _sock=listening,
        adj=Adjustments(connection_limit=_most_connections(), **LIMITS),
        sockinfo=(listening.family, listening.type, None, None),
        bind_socket=False,
    )
    try:
        _greet(card, listening)
        while not stopped:
            _turn(sockets)
        left = _end(server, sockets)
    finally:
        server.task_dispatcher.shutdown(timeout=0.2)
        wasyncore.close_all(sockets)
        for stop, handler in before.items():
            signal.signal(stop, handler)
    name = signal.Signals(stopped[0]).name
    say(f"\nStopped by {name}. {left}")
    gc.freeze()  # or Python looks for a second at what is to be thrown away
    return 128 + stopped[0]


def _give_memory_back() -> None:
    """Let glibc return the memory of a decoded picture as soon as it is freed.

    It would keep blocks of up to 32 MB for later, for each thread: after some
    large pictures, a gigabyte. Other C libraries have no mallopt.
    """
    with suppress(AttributeError, OSError, TypeError):
        ctypes.CDLL(None).mallopt(M_MMAP_THRESHOLD, 1024 * 1024)


def _turn(sockets: dict[int, wasyncore.dispatcher]) -> None:
    """Read and write what there is; wait for a tenth of a second at most."""
    poll = LIMITS["asyncore_use_poll"]
    wasyncore.loop(0.1, use_poll=poll, map=sockets, count=1)


def _is_loopback(listening: socket.socket) -> bool:
    return ip_address(listening.getsockname()[0]).is_loopback


def _most_connections() -> int:
    """Each takes up to two files: itself, and a large body, put on disk."""
    try:
        from resource import RLIMIT_NOFILE, getrlimit
    except ImportError:  # Windows: select takes 512
        return CONNECTIONS
    files, _ = getrlimit(RLIMIT_NOFILE)  # below 0: as many as one likes
    return CONNECTIONS if files < 0 else min(CONNECTIONS, (files - 60) // 2)


def _end(server: _Server, sockets: dict[int, wasyncore.dispatcher]) -> str:
    """Accept nothing more, answer what is in flight; say whether all was."""
    server.ending, began = True, time.monotonic()
    while time.monotonic() < began + CALLING:
        _turn(sockets)
    wasyncore.dispatcher.close(server)
    while server.coming() and time.monotonic() < began + COMING:
        _turn(sockets)
    while server.in_flight() and time.monotonic() < began + ENDING:
        _turn(sockets)
    if left := server.in_flight() + server.coming():
        return f"Not answered in time: {left}."
    return "What was in flight is answered."
