"""The report in a real browser: headless Chromium, from disk, with the network off."""

from __future__ import annotations

import csv
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import optuna
import pytest

pytest.importorskip("selenium", reason="selenium is not installed: pip install selenium")

from optuna.trial import FrozenTrial, TrialState
from selenium import webdriver
from selenium.webdriver.chrome.options import Options
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.ui import WebDriverWait

from search.reporting.pages.writing import write_reports
from tests.helpers.draws import simplest
from tests.reporting.studies import complete, pruned, study_of
from tests.reporting.test_finalists import group

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
DRIVER = shutil.which("chromedriver")
pytestmark = [
    pytest.mark.processes,
    pytest.mark.skipif(
        not (CHROMIUM and DRIVER), reason="needs chromium and chromium-driver (Debian's packages)"
    ),
]
FLAGS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
)
FIGURES = {
    "front",
    "front-ram",
    "front-flash",
    "curves",
    "history",
    "history-time",
    "importance",
    "parallel",
    "time",
    "cost",
}


@pytest.fixture(scope="module")
def folder(study_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("reports")
    study = optuna.load_study(study_name=None, storage=f"sqlite:///{study_file}")
    write_reports(study, folder)
    return folder


@pytest.fixture(scope="module")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[webdriver.Chrome]:
    options = Options()
    for flag in (*FLAGS, f"--user-data-dir={tmp_path_factory.mktemp('profile')}"):
        options.add_argument(flag)
    options.add_argument("--window-size=1280,900")
    options.binary_location = str(CHROMIUM)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    with webdriver.Chrome(options=options, service=Service(str(DRIVER))) as driver:
        driver.execute_cdp_cmd("Network.enable", {})
        offline = {"offline": True, "latency": 0, "downloadThroughput": 0, "uploadThroughput": 0}
        driver.execute_cdp_cmd("Network.emulateNetworkConditions", offline)
        yield driver


@pytest.fixture
def page(chromium: webdriver.Chrome, folder: Path) -> webdriver.Chrome:
    return open_page(chromium, folder / "leaderboard.html")


def open_page(driver: webdriver.Chrome, path: Path) -> webdriver.Chrome:
    driver.get(path.as_uri())
    ready = "return document.documentElement.dataset.ready"
    WebDriverWait(driver, 30).until(lambda d: d.execute_script(ready))
    return driver


def table(folder: Path) -> list[dict[str, str]]:
    with (folder / "leaderboard.csv").open(encoding="utf-8") as file:
        return list(csv.DictReader(file))


def column(page: webdriver.Chrome, place: int) -> list[str]:
    cells = f".entry > .row > td:nth-child({place})"
    script = "return [...document.querySelectorAll(arguments[0])].map(cell => cell.dataset.value)"
    return list(page.execute_script(script, cells))


def headers(page: webdriver.Chrome) -> list[WebElement]:
    return page.find_elements(By.CSS_SELECTOR, ".leaderboard thead th")


def errors(page: webdriver.Chrome) -> list[dict[str, Any]]:
    entries = page.get_log("browser")  # type: ignore[no-untyped-call]
    return [entry for entry in entries if entry["level"] != "DEBUG"]


def test_no_errors_and_nothing_fetched(page: webdriver.Chrome) -> None:
    script = "return performance.getEntriesByType('resource').map(entry => entry.name)"
    fetched = page.execute_script(script)

    assert errors(page) == []
    assert [name for name in fetched if not name.startswith("data:")] == []


def test_every_figure_has_drawn_its_points(page: webdriver.Chrome, folder: Path) -> None:
    names = {e.get_attribute("data-figure") for e in page.find_elements(By.CSS_SELECTOR, ".plot")}
    assert names == FIGURES

    def count(figure: str, selector: str) -> int:
        return len(page.find_elements(By.CSS_SELECTOR, f"#figure-{figure} {selector}"))

    rows = table(folder)
    front = [row for row in rows if row["on_pareto_front"] == "yes"]
    references = [row for row in rows if row["label"].startswith("reference:")]
    both = [row for row in front if row in references]
    drawn = count("front", ".scatterlayer .point")
    hidden = page.execute_script(
        "return document.querySelector('#figure-front').previousElementSibling.textContent"
    )
    below = int(hidden.split(" less accurate")[0].split()[-1]) if "less accurate" in hidden else 0
    assert drawn >= len(rows) + len(both) - below
    assert drawn <= len(rows) + len(both)
    assert count("curves", ".scatterlayer .trace") == 6
    assert count("history", ".scatterlayer .point") > len(rows) / 2
    assert count("importance", ".bars .point") == len(simplest())
    assert count("parallel", ".scatterlayer .trace") == 2
    assert count("parallel", ".scatterlayer .js-line") > 2
    assert count("time", ".bars .point") >= 2
    assert count("cost", ".scatterlayer .point") >= len(rows) - below


@pytest.mark.parametrize(
    "trials",
    [
        [],
        [complete(accuracy=0.995)],
        [complete(accuracy=0.3, epochs=1), complete(accuracy=0.9, epochs=2)],
        [complete(parameters=None), pruned(reason="median")],
        [pruned(reason="over budget", last=None, over_budget=True)],
    ],
    ids=["empty", "one", "short", "foreign", "over"],
)
def test_odd_studies_have_a_page_without_errors(
    trials: list[FrozenTrial], chromium: webdriver.Chrome, tmp_path: Path
) -> None:
    write_reports(study_of(trials), tmp_path)
    page = open_page(chromium, tmp_path / "leaderboard.html")
    for button in page.find_elements(By.CSS_SELECTOR, "button.open"):
        button.click()

    complete_trials = [trial for trial in trials if trial.state == TrialState.COMPLETE]
    assert bool(page.find_elements(By.CSS_SELECTOR, ".plot .main-svg")) == bool(complete_trials)
    assert errors(page) == []


def test_the_numbers_are_those_of_the_csv(page: webdriver.Chrome, folder: Path) -> None:
    rows = table(folder)[:50]
    text = "return [...document.querySelectorAll('.entry > .row')].map(r => r.innerText)"
    shown = [row.replace("\u00a0", " ") for row in page.execute_script(text)]

    assert column(page, 2) == [row["trial"] for row in rows]
    assert column(page, 3) == [row["validation_accuracy"] for row in rows]
    assert column(page, 5) == [row["parameters"] for row in rows]
    assert column(page, 6) == [row["macs"] for row in rows]
    assert column(page, 8) == [row["learning_rate"] for row in rows]
    for line, row in zip(shown, rows, strict=True):
        assert f"{100 * float(row['validation_accuracy']):.2f} %" in line
        low, high = float(row["interval_low"]), float(row["interval_high"])
        assert f"{100 * low:.2f}–{100 * high:.2f} %" in line
        assert f"{int(row['parameters']):,}" in line
        assert row["widths"] in line


def test_a_click_on_a_header_sorts_and_a_second_one_turns_round(page: webdriver.Chrome) -> None:
    header = next(h for h in headers(page) if "Parameters" in h.text)
    before = column(page, 2)
    header.find_element(By.TAG_NAME, "button").click()
    sizes = [int(value) for value in column(page, 5)]

    assert sizes == sorted(sizes)
    assert header.get_attribute("aria-sort") == "ascending"
    assert sorted(column(page, 2)) == sorted(before)
    header.find_element(By.TAG_NAME, "button").send_keys(Keys.ENTER)  # by keyboard as well
    assert [int(value) for value in column(page, 5)] == sizes[::-1]
    assert header.get_attribute("aria-sort") == "descending"
    sorted_by = [h for h in headers(page) if h.get_attribute("aria-sort")]
    assert sorted_by == [header]


def test_a_row_opens_to_its_layers_recipe_and_curve(page: webdriver.Chrome, folder: Path) -> None:
    row = table(folder)[0]
    entry = page.find_element(By.ID, f"trial-{row['trial']}")
    button = entry.find_element(By.CSS_SELECTOR, "button.open")
    detail = entry.find_element(By.CSS_SELECTOR, ".detail")
    assert not detail.is_displayed()

    button.click()
    drawn = (By.CSS_SELECTOR, ".curve .scatterlayer .js-line")
    WebDriverWait(page, 10).until(lambda _: len(entry.find_elements(*drawn)) == 2)

    assert detail.is_displayed()
    assert button.get_attribute("aria-expanded") == "true"
    assert f"{int(row['parameters']):,}" in detail.find_element(By.TAG_NAME, "tfoot").text
    assert row["architecture"] in detail.text
    assert "learning rate" in detail.text
    entry.find_element(By.CSS_SELECTOR, ".row td:nth-child(5)").click()  # anywhere on the row
    assert not detail.is_displayed()
    assert button.get_attribute("aria-expanded") == "false"
    assert errors(page) == []


def test_an_open_row_keeps_its_detail_when_sorted(page: webdriver.Chrome) -> None:
    page.find_element(By.CSS_SELECTOR, "button.open").click()
    headers(page)[1].find_element(By.TAG_NAME, "button").click()
    opened = page.find_elements(By.CSS_SELECTOR, ".detail:not([hidden])")

    assert len(opened) == 1
    entry = opened[0].find_element(By.XPATH, "..")
    assert opened[0].get_attribute("id") == entry.get_attribute("id").replace("trial", "detail")  # type: ignore[union-attr]


def test_the_graders_block_is_copied(page: webdriver.Chrome) -> None:
    button = page.find_element(By.ID, "copy")
    page.execute_script("arguments[0].scrollIntoView()", button)
    button.click()
    said = page.find_element(By.ID, "copied")
    WebDriverWait(page, 10).until(lambda _: said.text)

    selected = page.execute_script("return String(getSelection())")
    assert said.text == "Copied." or "**Target.**" in selected


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_and_figures_follow_light_and_dark(page: webdriver.Chrome, scheme: str) -> None:
    features = [{"name": "prefers-color-scheme", "value": scheme}]
    page.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})
    bar = "return getComputedStyle(document.querySelector('#figure-importance .bars path')).fill"
    expected = {"light": "rgb(31, 95, 191)", "dark": "rgb(130, 177, 255)"}[scheme]

    WebDriverWait(page, 10).until(lambda d: d.execute_script(bar) == expected)
    assert contrast(page, "body", "body") > 12
    for selector in (".note", ".eyebrow", ".aside", ".health .warning .verdict", ".good", ".bad"):
        assert contrast(page, selector, "body") >= 4.5, selector


@pytest.mark.parametrize("width", [360, 768])
def test_a_phone_shows_it_without_scrolling_sideways(page: webdriver.Chrome, width: int) -> None:
    screen = {"width": width, "height": 800, "deviceScaleFactor": 2, "mobile": True}
    page.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", screen)
    try:
        page.refresh()
        page.find_element(By.CSS_SELECTOR, "button.open").click()
        wide = page.execute_script("return document.documentElement.scrollWidth")
        interval = page.find_element(By.CSS_SELECTOR, ".entry .under")

        assert wide <= width
        assert interval.is_displayed()
    finally:
        page.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


def contrast(page: webdriver.Chrome, selector: str, behind: str) -> float:
    """The contrast of a text's colour with the background, as WCAG 2 defines it."""
    script = (
        "const c = (s, p) => getComputedStyle(document.querySelector(s))[p].match(/[\\d.]+/g);"
        "return [c(arguments[0], 'color'), c(arguments[1], 'backgroundColor')]"
    )
    text, ground = page.execute_script(script, selector, behind)

    def luminance(colour: list[str]) -> float:
        parts = [float(part) / 255 for part in colour[:3]]
        linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    low, high = sorted((luminance(text), luminance(ground)))
    return (high + 0.05) / (low + 0.05)


def test_finalists_lead_with_the_figures_of_their_csv(
    chromium: webdriver.Chrome, tmp_path: Path
) -> None:
    search = study_of([complete(accuracy=0.9931), complete(accuracy=0.9925)])
    beside = optuna.create_study(
        study_name="cnn-search finalists", storage=search.storage, direction="maximize"
    )
    second = {"label": "reference: narrow-8k", "kind": "reference", "search_trial": None}
    beside.add_trials(group(0.9951, 0.9962, 0.9958) + group(0.9931, 0.9944, 0.9925, **second))
    write_reports(search, tmp_path)
    page = open_page(chromium, tmp_path / "leaderboard.html")
    assert errors(page) == []
    heads = [head.text for head in page.find_elements(By.CSS_SELECTOR, "h1, h2")]
    assert heads[:3] == [
        "Target of 99.4 % reached on the test images",
        "Finalists on the test images",
        "Leaderboard",
    ]
    with (tmp_path / "finalists.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))[::3]
    shown = [
        [cell.text.replace("\u00a0", " ") for cell in row.find_elements(By.CSS_SELECTOR, "td, th")]
        for row in page.find_elements(By.CSS_SELECTOR, ".finalists tbody tr")
    ]
    for row, cells in zip(rows, shown, strict=True):
        low, high = float(row["interval_low"]), float(row["interval_high"])
        assert cells[0] == row["place"]
        assert cells[2] == f"{100 * float(row['mean_test_accuracy']):.2f} %"
        assert cells[3] == f"{100 * low:.2f}–{100 * high:.2f} %"
        assert cells[4] == f"{100 * float(row['minimum']):.2f} %"
        assert cells[5] == f"{round(3 * float(row['share_reaching_target']))} of 3"
    assert len(page.find_elements(By.CSS_SELECTOR, ".finalists circle.run")) == 6
    assert shown[0][8] == f"{float(rows[0]['p_against_next']):.3f}"
