"""serve's page in a real browser, against a real server."""

import math
import os
import shutil
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path

import pytest
from PIL import Image
from selenium import webdriver
from selenium.webdriver import Keys
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import WebDriverWait
from typer.testing import CliRunner

from cli import app
from shared.datasets.as_files import png
from shared.datasets.embedded import photo_digits
from tests.served import served

BROWSER = shutil.which("chromium") or shutil.which("google-chrome")
DRIVER = shutil.which("chromedriver")
if not (BROWSER and DRIVER) and not os.environ.get("CI"):
    pytest.skip(
        "no Chromium with chromedriver on this machine", allow_module_level=True
    )
TURN = [2 * math.pi * step / 16 for step in range(17)]
DRAWN = {  # lines from point to point; (0, 0) is the upper left corner
    "0": [(0.5 + 0.22 * math.sin(t), 0.5 - 0.34 * math.cos(t)) for t in TURN],
    "2": [
        (0.3, 0.3), (0.4, 0.16), (0.6, 0.16), (0.68, 0.3), (0.6, 0.48),
        (0.3, 0.83), (0.72, 0.83),
    ],
    "7": [(0.28, 0.17), (0.72, 0.17), (0.45, 0.85)],
}  # fmt: skip


@pytest.fixture(scope="module")
def address(tmp_path_factory) -> Iterator[str]:
    """The page of a server, its network really trained."""
    logs = tmp_path_factory.mktemp("logs")
    words = "train-cifar --data photo-digits --epochs 3 --batch-size 32 "
    words += f"--limit 4000 --device cpu --logdir {logs}"
    result = CliRunner().invoke(app, words.split())
    assert result.exit_code == 0, result.output
    (best,) = logs.glob("train-cifar/*/best.pt")
    with served(best, "--device", "cpu") as running:
        yield running.address


@pytest.fixture(params=["desktop", "phone, dark"])
def page(request, address) -> Iterator[webdriver.Chrome]:
    options = webdriver.ChromeOptions()
    options.binary_location = BROWSER
    words = ["--headless=new", "--no-sandbox", "--window-size=1100,900"]
    if request.param != "desktop":
        words.append("--blink-settings=preferredColorScheme=0")
        screen = {"width": 390, "height": 844, "pixelRatio": 1}
        phone = {"deviceMetrics": screen}
        options.add_experimental_option("mobileEmulation", phone)
    for word in words:
        options.add_argument(word)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options=options, service=Service(DRIVER))
    driver.get(address)
    try:
        yield driver
    finally:
        driver.quit()


def status(page: webdriver.Chrome, begins: str) -> str:
    """Wait until the page says what begins so; returns all of it."""

    def said(page: webdriver.Chrome) -> str:
        text = page.find_element(By.ID, "status").text
        return text if text.startswith(begins) else ""

    return WebDriverWait(page, 30).until(said)


def choose(page: webdriver.Chrome, path: Path) -> None:
    page.find_element(By.ID, "file").send_keys(str(path))


def draw(page: webdriver.Chrome, points: list[tuple[float, float]]) -> None:
    canvas = page.find_element(By.ID, "canvas")
    width = canvas.size["width"]
    places = [[int((k - 0.5) * width) for k in point] for point in points]
    pen = ActionChains(page, duration=5)
    pen.move_to_element_with_offset(canvas, *places[0]).click_and_hold()
    for place in places[1:]:
        pen.move_to_element_with_offset(canvas, *place)
    pen.release().perform()


def test_a_chosen_picture_is_answered_and_shown_as_it_is_seen(page, tmp_path):
    seven = photo_digits()[1].images[7]
    (tmp_path / "seven.png").write_bytes(png(seven))
    choose(page, tmp_path / "seven.png")
    assert "sure" in status(page, "It says 7")
    rows = page.find_elements(By.CSS_SELECTOR, "#bars tr")
    assert len(rows) == 3
    assert rows[0].text.startswith("7")
    assert "%" in rows[0].text
    size = "return [document.getElementById('seen').naturalWidth, "
    size += "getComputedStyle(document.getElementById('seen')).imageRendering]"
    assert page.execute_script(size) == [32, "pixelated"]
    assert "photo-digits" in page.find_element(By.TAG_NAME, "dl").text
    wide = "return document.documentElement.scrollWidth <= innerWidth"
    assert page.execute_script(wide), "it has to be scrolled sideways"
    bad = [m for m in page.get_log("browser") if m["level"] == "SEVERE"]
    assert not bad
    screen = Image.open(BytesIO(page.get_screenshot_as_png()))
    assert (
        len(screen.convert("RGB").getcolors(screen.width * screen.height)) > 9
    )


@pytest.mark.parametrize("digit", DRAWN)
def test_a_drawn_digit_is_recognised(page, digit):
    draw(page, DRAWN[digit])
    page.find_element(By.ID, "ask").click()
    status(page, f"It says {digit}")
    page.find_element(By.ID, "clear").click()
    page.find_element(By.ID, "ask").click()
    status(page, "Nothing is drawn yet.")


def test_a_text_file_and_html_in_a_name_are_said_not_run(page, tmp_path):
    path = tmp_path / "<img src=x onerror=alert(1)>.png"
    path.write_text("Hello")
    choose(page, path)
    said = status(page, "<img src=x onerror=alert(1)>.png: ")
    assert "This is not a picture that can be read" in said
    assert not page.find_element(By.ID, "answer").is_displayed()
    large = tmp_path / "large.png"
    large.write_bytes(bytes(11 * 1024 * 1024))
    choose(page, large)
    assert "at most 10 MB are read" in status(page, "large.png")


def test_the_keyboard_alone_draws_and_asks(page):
    canvas = page.find_element(By.ID, "canvas")
    canvas.send_keys(Keys.ARROW_UP * 8, " ", Keys.ARROW_DOWN * 16, " ")
    page.find_element(By.ID, "ask").send_keys(Keys.ENTER)
    status(page, "It says")
    reached = []
    page.find_element(By.TAG_NAME, "body").click()
    for _ in range(5):
        ActionChains(page).send_keys(Keys.TAB).perform()
        reached.append(page.switch_to.active_element.get_attribute("id"))
    assert {"file", "canvas", "ask", "clear"} <= set(reached), reached


def test_everything_has_a_name_for_a_screen_reader(page):
    images = page.find_elements(By.TAG_NAME, "img")
    assert all(image.get_attribute("alt") for image in images)
    assert page.find_element(By.ID, "file").accessible_name
    assert page.find_element(By.ID, "canvas").accessible_name
    assert page.find_element(By.ID, "status").aria_role == "status"
    headings = page.find_elements(By.CSS_SELECTOR, "h1, h2, h3")
    assert [h.tag_name for h in headings][:2] == ["h1", "h2"]


def test_without_the_server_it_says_so(page, address):
    page.execute_script("fetch = () => Promise.reject(new Error())")
    draw(page, DRAWN["7"])
    page.find_element(By.ID, "ask").click()
    status(page, "The server does not answer.")
