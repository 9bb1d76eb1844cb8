"""What a learner sees: TensorBoard on logs of real runs, in a real browser."""

import csv
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path

import pytest
import tensorboard_data_server
from PIL import Image
from selenium import webdriver
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.action_chains import ActionChains

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


@contextmanager
def tensorboard(logdir: Path, *options: str) -> Iterator[str]:
    """The address of a TensorBoard, started as the README says."""
    program = shutil.which("tensorboard", path=Path(sys.executable).parent)
    command = [program, "--logdir", logdir.name, "--port", "0", *options]
    with tempfile.TemporaryDirectory() as folder:
        said = Path(folder) / "said"
        with said.open("w") as file:
            output = {"stdout": file, "stderr": subprocess.STDOUT}
            server = subprocess.Popen(command, cwd=logdir.parent, **output)
        try:
            yield _address(server, said)
        finally:
            server.terminate()
            server.wait()


def _address(server: subprocess.Popen, said: Path) -> str:
    """Wait until a server has said where it can be reached."""
    while True:
        words = said.read_text().split()
        assert server.poll() is None, words
        for word in words:
            if word.startswith("http://localhost"):
                return word
        time.sleep(0.1)


@pytest.fixture(scope="module")
def address(logdir):
    with tensorboard(logdir) as found:
        yield found


@pytest.fixture(scope="module")
def demo(tmp_path_factory) -> Path:
    """The logs of tensorboard-demo, which has every kind of entry."""
    folder = tmp_path_factory.mktemp("logs")
    words = ("tensorboard-demo", "--logdir", str(folder))
    command = [sys.executable, "cli.py", *words]
    subprocess.run(command, check=True, capture_output=True, timeout=300)
    return folder


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


UNTICK_IGNORE_OUTLIERS = """
const walk = node => {
  const box = node.matches?.("paper-checkbox, vaadin-checkbox");
  if (box && /outliers/.test(node.textContent)) node.click();
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


def colourful(screenshot: Image.Image, box: tuple[int, ...]) -> int:
    """How many pixels of a part of it are of a vivid colour."""
    part = screenshot.convert("RGB").crop(box)
    colours = part.getcolors(part.width * part.height)
    return sum(
        count for count, colour in colours if max(colour) - min(colour) > 40
    )


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
        assert colourful(screenshot, (250, 250, 700, 600)) > 100


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


def test_each_learning_rate_of_sgd_demo_is_a_row(browser, tmp_path):
    words = ("sgd-demo", "--logdir", str(tmp_path / "logs"))
    command = [sys.executable, "cli.py", *words]
    subprocess.run(command, check=True, capture_output=True, timeout=300)
    with tensorboard(tmp_path / "logs") as address:
        browser.get(f"{address}#hparams")
        browser.refresh()
        rates = ("0.001", "0.01", "0.1", "1", "10")
        look_until(
            browser,
            "Numberofmatchingsessiongroups:5",
            "momentum",
            "result/highest_loss",
            "result/right",
            *(f"/lr{rate}" for rate in rates),
        )


def test_the_runs_are_listed_by_lesson_and_time(address, logdir):
    with urllib.request.urlopen(f"{address}data/runs") as response:
        runs = response.read().decode()
    for run in logdir.glob("*/*"):
        assert f"{run.parent.name}/{run.name}" in runs


def test_every_kind_of_entry_of_tensorboard_demo_is_shown(browser, demo):
    with tensorboard(demo) as address:
        for tab, shown in {
            "scalars": ("tag:line/y", "tag:lines"),
            "histograms": ("tag:numbers",),
            "text": ("Atext,withboldwords:yistwicex.",),
        }.items():
            browser.get(f"{address}#{tab}")
            browser.refresh()
            screenshot = look_until(browser, *shown)
            if tab != "text":
                assert colourful(screenshot, (360, 200, 900, 420)) > 100
        browser.get(f"{address}#images")
        browser.refresh()
        look_until(browser, "figure", "greys", "images", "roof", pictures=3)
        browser.execute_script(OPEN_GROUPS)
        tags = [f"tag:images/{name}" for name in ("chw", "grid", "hwc")]
        look_until(browser, "tag:figure", *tags, "tag:roof", pictures=9)


def test_the_end_of_a_line_is_an_outlier_until_you_untick_that(browser, demo):
    with tensorboard(demo) as address:
        browser.get(f"{address}?tagFilter=lines#scalars")
        browser.refresh()
        look_until(browser, "tag:lines", "240")
        text, _ = browser.execute_script(EVERYTHING)
        assert "300" not in text.partition("tag:lines")[2]  # lines_3x: 297
        browser.execute_script(UNTICK_IGNORE_OUTLIERS)
        look_until(browser, "tag:lines", "250300")


MIDDLE_OF_SEQUENTIAL = """
let found = null;
const walk = node => {
  if (node.getAttribute?.("data-name") === "Sequential") {
    const box = node.querySelector(":scope > .nodeshape");
    const {x, y, width, height} = (box || node).getBoundingClientRect();
    found = [Math.round(x + width / 2), Math.round(y + height / 2)];
  }
  if (node.shadowRoot) walk(node.shadowRoot);
  node.childNodes.forEach(walk);
};
walk(document.body);
return found;
"""


def test_the_graph_opens_with_a_double_click(browser, tmp_path):
    words = ("sequential-demo", "--logdir", str(tmp_path / "logs"))
    command = [sys.executable, "cli.py", *words]
    subprocess.run(command, check=True, capture_output=True, timeout=300)
    with tensorboard(tmp_path / "logs") as address:
        browser.get(f"{address}#graphs")
        browser.refresh()
        look_until(browser, "input", "Sequential", "output")
        chain = ActionChains(browser)
        place = browser.execute_script(MIDDLE_OF_SEQUENTIAL)
        chain.w3c_actions.pointer_action.move_to_location(*place)
        chain.double_click().perform()
        look_until(browser, "Conv2d[0]", "Flatten[9]", "Linear[12]")


def test_of_two_runs_in_a_folder_one_is_forgotten_or_a_zigzag_drawn(demo):
    (run,) = demo.glob("*/*/mistakes/both")
    run = urllib.parse.quote(run.relative_to(demo).as_posix())
    first, second = [[0, 0], [1, 1], [2, 2]], [[0, 0], [1, 3], [2, 6]]
    path = f"data/plugin/scalars/scalars?run={run}&tag=y"
    for options in ((), ("--load_fast=false",)):
        fast = not options and tensorboard_data_server.server_binary()
        with tensorboard(demo, *options) as address:
            points = wait_for_points(address + path, last=[2, 6])
        seen = [[step, value] for _, step, value in points]
        assert seen == (second if fast else first + second)


def wait_for_points(address: str, last: list[float]) -> list[list[float]]:
    """A curve's points (time, step, value), once TensorBoard has read them."""
    for _ in range(60):
        try:
            with urllib.request.urlopen(address) as response:
                points = json.load(response)
            if points and points[-1][1:] == last:
                return points
        except urllib.error.HTTPError:
            pass  # there is no such run yet
        time.sleep(0.5)
    raise AssertionError(f"nothing that ends with {last} at {address}")


def test_a_wrong_folder_shows_no_dashboards_and_no_error(browser, tmp_path):
    with tensorboard(tmp_path / "log") as address:
        browser.get(address)
        look_until(browser, "Nodashboardsareactive")
