"""A real server in a process of its own, and what a hostile client sends."""

import contextlib
import random
import re
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import NamedTuple

from PIL import Image

from shared.options import ROOT

TEN = ("PNG", "JPEG", "GIF", "BMP", "WEBP", "TIFF", "PPM", "ICO", "PCX", "TGA")
EDGE = b"----edge"


class Server(NamedTuple):
    process: subprocess.Popen
    port: int

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.port}/"

    def memory(self) -> float:
        """MB that it holds at the moment (Linux)."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(re.search(r"VmRSS:\s+(\d+)", status)[1]) / 1024


@contextmanager
def served(checkpoint: Path, *words: str) -> Iterator[Server]:
    """`python cli.py serve` with this checkpoint, at a free port."""
    command = [sys.executable, "cli.py", "serve", "--port", "0", *words]
    command += ["--checkpoint", str(checkpoint)]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    process = subprocess.Popen(command, cwd=ROOT, text=True, **pipes)
    try:
        for line in process.stdout:
            if found := re.search(r"Open http://\S+?:(\d+)/", line):
                break
        else:
            raise AssertionError(process.stderr.read())
        yield Server(process, int(found[1]))
    finally:
        process.kill()
        process.wait()


class Reply(NamedTuple):
    status: int | None  # None: it hung up without an answer
    text: str
    seconds: float


def send(
    port: int, request: bytes, hang_up: bool = False, wait: float = 30
) -> Reply:
    """Send bytes and read until the server closes or has answered.

    With hang_up the client closes its half of the connection after them.
    """
    began, answer = time.monotonic(), b""
    with socket.create_connection(("127.0.0.1", port), timeout=wait) as line:
        with contextlib.suppress(OSError):
            line.sendall(request)
            if hang_up:
                line.shutdown(socket.SHUT_WR)
        with contextlib.suppress(ConnectionError):
            while not _whole(answer) and (some := line.recv(1 << 16)):
                answer += some
    head = re.match(rb"HTTP/1\.\d (\d+)", answer)
    seconds = time.monotonic() - began
    text = answer.partition(b"\r\n\r\n")[2].decode(errors="replace")
    return Reply(int(head[1]) if head else None, text, seconds)


def _whole(answer: bytes) -> bool:
    head, found, body = answer.partition(b"\r\n\r\n")
    size = re.search(rb"(?i)content-length: (\d+)", head)
    return bool(found and size and len(body) >= int(size[1]))


def post(body: bytes, kind: str = "image/png", **headers: str) -> bytes:
    """The bytes of a POST to /predict."""
    named = {
        "Host": "localhost",
        "Content-Type": kind,
        "Content-Length": len(body),
    }
    named |= {name.replace("_", "-"): v for name, v in headers.items()}
    lines = "".join(f"{name}: {value}\r\n" for name, value in named.items())
    return f"POST /predict HTTP/1.1\r\n{lines}\r\n".encode("latin-1") + body


def form(content: bytes, name: str = "a.png", field: str = "image") -> bytes:
    """The same as a browser sends it: a form with one file."""
    disposition = f'form-data; name="{field}"; filename="{name}"'
    head = f"Content-Disposition: {disposition}\r\n\r\n".encode()
    body = (
        b"--" + EDGE + b"\r\n" + head + content + b"\r\n--" + EDGE + b"--\r\n"
    )
    return post(body, f"multipart/form-data; boundary={EDGE.decode()}")


def picture(kind: str, size: tuple[int, int] = (60, 40)) -> bytes:
    file = BytesIO()
    Image.effect_noise(size, 80).convert("RGB").save(file, kind)
    return file.getvalue()


def bombs() -> list[bytes]:
    """Small files that say, rightly or not, that they are huge pictures."""
    large = BytesIO()
    Image.new("1", (12_000, 12_000)).save(large, "png")
    lying = bytearray(picture("PNG"))
    lying[16:24] = (60_000).to_bytes(4, "big") * 2
    bmp = bytearray(picture("BMP"))
    bmp[18:26] = (50_000).to_bytes(4, "little") * 2
    gif = bytearray(picture("GIF"))
    gif[6:10] = b"\xff" * 4
    allowed = BytesIO()  # just within the limit, and transparent
    Image.new("RGBA", (4_990, 4_990)).save(allowed, "png")
    files = [large.getvalue(), *map(bytes, (lying, bmp, gif))]
    return [*files, allowed.getvalue()]


def hostile_requests(seed: int) -> Iterator[tuple[str, bytes, bool]]:
    """Without end: a name, the bytes of a request, whether to hang up."""
    chance = random.Random(seed)
    files = {kind: picture(kind) for kind in TEN}
    huge, names = bombs(), ["../../etc/passwd", "C:\\x\\..", "a\x00b", "%2e%2e"]
    names += ["<script>alert(1)</script>.png", "'\"><img src=x>", "é" * 300]
    parts = b"".join(
        b"--"
        + EDGE
        + b'\r\nContent-Disposition: form-data; name="a"\r\n\r\n1\r\n'
        for _ in range(5000)
    )
    multipart = f"multipart/form-data; boundary={EDGE.decode()}"
    while True:
        noise = chance.randbytes(chance.randrange(5000))
        file = files[chance.choice(TEN)]
        cut = file[: chance.randrange(len(file))]
        whole = post(file, "image/png")
        yield "random bytes", post(noise), False
        yield "random bytes in a form", form(noise), False
        yield "truncated", form(cut), False
        yield "truncated, raw", post(cut, "image/jpeg"), False
        yield "bomb", post(chance.choice(huge)), False
        yield (
            "wrong type",
            post(file, chance.choice(["a", "", "text/html"])),
            False,
        )
        yield (
            "form without a boundary",
            post(file, "multipart/form-data"),
            False,
        )
        yield "form that never ends", post(b"--" + EDGE + cut, multipart), False
        yield "5,000 fields", post(parts, multipart), False
        yield "another field", form(file, field="b"), False
        yield "a name", form(file, name=chance.choice(names)), False
        yield "hung up", whole[: chance.randrange(60, len(whole))], True
        yield "no HTTP", chance.randbytes(300) + b"\r\n\r\n", True
        yield "lying length", post(file, Content_Length="-5"), True
        yield "two lengths", post(file, content_length="3"), True
        coded = post(file, Transfer_Encoding="gzip", Content_Length="")
        yield "unknown coding", coded, True
        chunks = post(b"zz\r\n" + cut, Transfer_Encoding="chunked")
        yield "bad chunks", chunks.replace(b"Content-Length", b"X"), True
        yield "long header", post(file, X="a" * 300_000), True
        if chance.random() < 0.1:
            yield "50 MB", post(bytes(50 * 1024 * 1024)), False


@contextmanager
def slow_senders(port: int, count: int) -> Iterator[list[socket.socket]]:
    """Connections that have begun a request; call it now and then."""
    began = post(bytes(1000))[:-900]
    lines = [
        socket.create_connection(("127.0.0.1", port)) for _ in range(count)
    ]
    for line in lines:
        line.sendall(began)
    try:
        yield lines
    finally:
        for line in lines:
            line.close()


def is_cut(line: socket.socket) -> bool:
    """Send one more byte; has the server hung up?"""
    try:
        line.sendall(b"0")
        line.settimeout(0.01)
        return line.recv(100) == b""
    except TimeoutError:
        return False
    except ConnectionError:
        return True
