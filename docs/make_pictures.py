"""Make the README's pictures anew: the terminal as SVG, TensorBoard as PNG.

python -m docs.make_pictures

This needs requirements-dev.txt, Chromium with chromedriver, and the activated
environment: the commands in the picture are those that a reader would see.
"""

import io
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from rich.console import Console
from selenium import webdriver
from selenium.webdriver.chrome.service import Service
from typer.testing import CliRunner

from cli import app
from shared import console

HERE = Path(__file__).resolve().parent


def record(words: list[str]) -> None:
    """Run a command with a console that remembers what it prints in colour."""
    colours = {"color_system": "truecolor", "highlight": False}
    recorder = Console(record=True, width=80, file=io.StringIO(), **colours)
    vars(console.console).update(vars(recorder))
    result = CliRunner().invoke(app, [*words, "--logdir", "logs"])
    assert result.exit_code == 0, result.output
    title = f"python cli.py {' '.join(words)}"
    recorder.save_svg(str(HERE / f"{words[0]}.svg"), title=title)


def photograph_tensorboard() -> None:
    """Open TensorBoard on logs in a headless browser; keep what it shows."""
    port = "6123"
    tensorboard = [sys.executable, "-m", "tensorboard.main"]
    command = [*tensorboard, "--logdir", "logs", "--port", port]
    server = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    options = webdriver.ChromeOptions()
    for switch in ("headless=new", "no-sandbox", "window-size=1300,1150"):
        options.add_argument(f"--{switch}")
    service = Service(shutil.which("chromedriver"))
    browser = webdriver.Chrome(options=options, service=service)
    time.sleep(10)  # TensorBoard reads the logs
    browser.get(f"http://localhost:{port}/#images")
    time.sleep(10)  # and draws them
    browser.get_screenshot_as_file(str(HERE / "tensorboard.png"))
    browser.quit()
    server.terminate()


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        record(["train-cifar", "--data", "photo-digits"])
        photograph_tensorboard()
