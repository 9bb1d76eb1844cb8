"""What a learner sees: TensorBoard on logs of real runs, in a real browser."""

import csv
import os
import shutil
import subprocess
import sys
import time
import urllib.request
from io import BytesIO
from pathlib import Path

import pytest
from PIL import Image
from selenium import webdriver
from selenium.webdriver.chrome.service import Service

BROWSER = shutil.which("chromium") or shutil.which("google-chrome")
DRIVER = shutil.which("chromedriver")
if not (BROWSER and DRIVER) and not os.environ.get("CI"):
    pytest.skip(
        "no Chromium with chromedriver on this machine", allow_module_level=True
    )


@pytest.fixture(scope="module")
def logdir(tmp_path_factory) -> Path:
    """The logs of conv-demo and of a short train-cifar."""
    folder = tmp_path_factory.mktemp("logs")
    short = ("--data", "photo-digits", "--epochs", "3", "--limit", "1000")
    for words in (("conv-demo",), ("train-cifar", *short)):
        command = [sys.executable, "cli.py", *words, "--logdir", str(folder)]
        subprocess.run(command, check=True, capture_output=True, timeout=300)
    return folder


@pytest.fixture(scope="module")
def address(logdir, tmp_path_factory):
    """The address of a TensorBoard on those logs."""
    said = tmp_path_factory.mktemp("tensorboard") / "said"
    tensorboard = [sys.executable, "-m", "tensorboard.main"]
    command = [*tensorboard, "--logdir", str(logdir), "--port", "0"]
    with said.open("w") as file:
        server = subprocess.Popen(
            command, stdout=file, stderr=subprocess.STDOUT
        )
    found = None
    while not found:
        assert server.poll() is None, said.read_text()
        words, start = said.read_text().split(), "http://localhost"
        found = [word for word in words if word.startswith(start)]
        time.sleep(0.1)
    yield found[0]
    server.terminate()
    server.wait()


@pytest.fixture(scope="module")
def browser():
    options = webdriver.ChromeOptions()
    options.binary_location = BROWSER
    switches = ("headless=new", "no-sandbox", "disable-gpu")
    for switch in (*switches, "window-size=1400,1400"):
        options.add_argument(f"--{switch}")
    driver = webdriver.Chrome(options=options, service=Service(DRIVER))
    yield driver
    driver.quit()


# TensorBoard is made of nested web components: this reads the text and pictures
# of all of them.
EVERYTHING = """
const texts = [], pictures = [];
const walk = node => {
  if (["STYLE", "SCRIPT"].includes(node.tagName)) return;
  if (node.nodeType === 3) texts.push(node.textContent);
  const width = node.tagName === "IMG" && node.naturalWidth;
  if (width) pictures.push(width);
  if (node.shadowRoot) walk(node.shadowRoot);
  node.childNodes.forEach(walk);
};
walk(document.body);
return [texts.join("").replace(/\\s/g, ""), pictures];
"""

OPEN_GROUPS = """
const walk = node => {
  const closed = node.matches?.("button.heading:not([open-button])");
  if (closed) node.click();
  if (node.shadowRoot) walk(node.shadowRoot);
  node.childNodes.forEach(walk);
};
walk(document.body);
"""


def look_until(browser, *words: str, pictures: int = 0) -> Image.Image:
    """Wait until the page shows all the words and so many pictures.

    Returns a screenshot.
    """
    for _ in range(120):
        text, widths = browser.execute_script(EVERYTHING)
        if all(word in text for word in words) and len(widths) >= pictures:
            time.sleep(2)  # curves and pictures are drawn after their titles
            return Image.open(BytesIO(browser.get_screenshot_as_png()))
        time.sleep(0.5)
    missing = [word for word in words if word not in text]
    raise AssertionError(f"not seen: {missing}, pictures: {widths}, in {text}")


def test_scalars_are_drawn_as_curves_with_the_values_of_the_run(
    browser, address, logdir
):
    (metrics,) = logdir.glob("train-cifar/*/metrics.csv")
    with metrics.open() as file:
        last = list(csv.DictReader(file))[-1]
    for group, column in (("accuracy", "val_accuracy"), ("loss", "val_loss")):
        filters = f"runFilter=train-cifar&tagFilter={group}%2Fval"
        browser.get(f"{address}?{filters}#timeseries")
        value = f"{float(last[column]):.4f}".rstrip("0")
        screenshot = look_until(browser, f"{group}/val", value)
        chart = screenshot.convert("RGB").crop((250, 250, 700, 600))
        colours = chart.getcolors(chart.width * chart.height)
        vivid = [
            count for count, colour in colours if max(colour) - min(colour) > 40
        ]
        assert sum(vivid) > 100, "no coloured curve in sight"


def test_images_are_shown(browser, address):
    browser.get(f"{address}#images")
    browser.refresh()
    tags = ("figures/confusion", "figures/predictions", "images/input")
    look_until(browser, *tags, "kernels", pictures=3)
    browser.execute_script(OPEN_GROUPS)  # the first two are open by themselves
    look_until(browser, "tag:kernels", pictures=4)


def test_hyperparameters_stand_beside_the_result(browser, address):
    browser.get(f"{address}#hparams")
    browser.refresh()
    look_until(browser, "batch_size", "momentum", "result/test_accuracy")


def test_the_runs_are_listed_by_lesson_and_time(address, logdir):
    with urllib.request.urlopen(f"{address}data/runs") as response:
        runs = response.read().decode()
    for run in logdir.glob("*/*"):
        assert f"{run.parent.name}/{run.name}" in runs
