"""What a server needs and no lesson teaches.

server      waitress: limits, slow senders, how it ends
replies     what an upload is, and errors as JSON
page/       the page: plain HTML, CSS and JavaScript
"""

from .replies import MOST_BYTES, PAGE, data_url, guard, refuse, sound, uploaded
from .server import (
    LIMITS,
    SENDING,
    listen,
    run,
)

__all__ = [
    "LIMITS",
    "MOST_BYTES",
    "PAGE",
    "SENDING",
    "data_url",
    "guard",
    "listen",
    "refuse",
    "run",
    "sound",
    "uploaded",
]
