"""serve under load, and under abuse.

python -m tests.benchmarks.serve_load CHECKPOINT

Load: 32 connections that ask for 20 seconds. Abuse: 1,000 hostile requests over
8 connections, with slow senders beside them. Prints requests a second, how long
they took, memory before and after; ends with an error where something was lost.
"""

import http.client
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from itertools import islice
from pathlib import Path

import torch

from shared.console import table
from shared.datasets.as_files import png
from shared.datasets.embedded import photo_digits
from shared.training.served import open_served
from tests.served import (
    Reply,
    Server,
    hostile_requests,
    is_cut,
    post,
    send,
    served,
    slow_senders,
)

CONNECTIONS, SECONDS = 32, 20
HOSTILE, HANDS = 1_000, 8


def side_by_side(work: Callable[[int], None], count: int) -> None:
    threads = [threading.Thread(target=work, args=(k,)) for k in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def load(server: Server, picture: bytes, seconds: float) -> list[float]:
    """The milliseconds of each request of 32 connections that stay open."""
    taken, statuses = [], Counter()
    until = time.monotonic() + seconds

    def ask(_: int) -> None:
        line = http.client.HTTPConnection("127.0.0.1", server.port, timeout=30)
        kind = {"Content-Type": "image/png"}
        while time.monotonic() < until:
            began = time.perf_counter()
            line.request("POST", "/predict", picture, kind)
            answer = line.getresponse()
            answer.read()
            taken.append(1000 * (time.perf_counter() - began))
            statuses[answer.status] += 1

    side_by_side(ask, CONNECTIONS)
    assert set(statuses) == {200}, statuses
    return sorted(taken)


def forward_ms(checkpoint: Path, picture: bytes) -> float:
    """The model alone, for one image: the median of 200."""
    loaded = open_served(checkpoint, checkpoint.parent, "cpu")
    image = photo_digits()[1].images[7:8]
    taken = []
    torch.set_num_threads(1)  # as each of the server's threads
    with torch.inference_mode():
        for _ in range(200):
            began = time.perf_counter()
            loaded.model(image)
            taken.append(1000 * (time.perf_counter() - began))
    return sorted(taken)[100]


def abuse(server: Server) -> tuple[Counter, dict[str, float]]:
    """What was answered, and the slowest answer of each kind, in seconds."""
    requests = islice(hostile_requests(seed=1), HOSTILE)
    lock, statuses, slowest = threading.Lock(), Counter(), {}

    def harm(_: int) -> None:
        while True:
            with lock:
                kind, request, hang_up = next(requests, ("", b"", False))
            if not kind:
                return
            reply: Reply = send(server.port, request, hang_up)
            assert "Traceback" not in reply.text, kind
            with lock:
                statuses[reply.status] += 1
                slowest[kind] = max(slowest.get(kind, 0), reply.seconds)

    with slow_senders(server.port, 50) as slow:
        side_by_side(harm, HANDS)
        until = time.monotonic() + 20
        while not all(map(is_cut, slow)) and time.monotonic() < until:
            time.sleep(0.5)
        assert all(map(is_cut, slow)), "a slow sender was not cut off"
    assert not any(status and status >= 500 for status in statuses), statuses
    return statuses, slowest


def main(checkpoint: Path) -> None:
    picture = png(photo_digits()[1].images[7])
    with served(checkpoint, "--device", "cpu") as server:
        load(server, picture, 3)
        before = server.memory()
        taken = load(server, picture, SECONDS)
        after = server.memory()
        statuses, slowest = abuse(server)
        load(server, picture, 3)
        last = server.memory()
        assert send(server.port, post(picture)).status == 200
    alone = forward_ms(checkpoint, picture)
    p50, p95 = (taken[int(share * len(taken))] for share in (0.5, 0.95))
    a_second = len(taken) / SECONDS
    rows = {
        "requests a second": f"{a_second:,.0f}",
        "p50, p95": f"{p50:.1f} ms, {p95:.1f} ms ({CONNECTIONS} at once)",
        "the model alone": f"{alone:.2f} ms",
        "a request / the model alone": f"{1000 / a_second / alone:.1f}",
        "memory: before, after load": f"{before:.0f}, {after:.0f} MB",
        "memory after the abuse": f"{last:.0f} MB",
        "hostile requests": ", ".join(f"{k}: {n}" for k, n in statuses.items()),
    }
    table(["serve", ""], rows.items())
    worst = sorted(slowest.items(), key=lambda pair: -pair[1])
    cells = [(kind, f"{seconds:.2f} s") for kind, seconds in worst[:5]]
    table(["slowest answers to", ""], cells)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
