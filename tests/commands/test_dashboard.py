"""The dashboard in a real browser, against a search that is running."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import WebDriverWait

from tests.helpers.browser import browser, needs_browser
from tests.helpers.commands import ROOT, load, trials_so_far, wait_until

pytestmark = pytest.mark.processes

# Without proxies: urlopen keeps for good those that the environment names at its first call.
DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))
DASHBOARD = [sys.executable, str(ROOT / "search/dashboard.py")]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def answers(url: str) -> bool:
    try:
        with DIRECT.open(url, timeout=5):
            return True
    except OSError:
        return False


@pytest.fixture
def searching(command: list[str]) -> Iterator[subprocess.Popen[str]]:
    """Many of its candidates are over the limit."""
    process = subprocess.Popen(
        [*command, "--trials", "500", "--epochs", "3", "--workers", "1", "--max-params", "4000"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    yield process
    process.send_signal(signal.SIGINT)
    process.wait(30)


@pytest.fixture(params=["ours", "optuna-dashboard"])
def url(
    request: pytest.FixtureRequest, tmp_path: Path, searching: subprocess.Popen[str]
) -> Iterator[str]:
    """A dashboard's address: our command, and the plain one of its package."""
    wait_until(lambda: finished(tmp_path) >= 7 and has_reason(tmp_path), searching)
    port = free_port()
    storage = str(tmp_path / "study.db")
    starts = {
        "ours": [*DASHBOARD, "--storage", storage, "--port", str(port)],
        "optuna-dashboard": [
            str(Path(sys.executable).with_name("optuna-dashboard")),
            f"sqlite:///{storage}",
            "--port",
            str(port),
        ],
    }
    server = subprocess.Popen(
        starts[request.param], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    address = f"http://127.0.0.1:{port}"
    wait_until(lambda: answers(f"{address}/dashboard/"))
    yield address
    server.terminate()
    server.wait(20)


def has_reason(tmp_path: Path) -> bool:
    return any("reason" in trial.user_attrs for trial in trials_so_far(tmp_path))


def finished(tmp_path: Path) -> int:
    return sum(trial.state.is_finished() for trial in trials_so_far(tmp_path))


@needs_browser
def test_a_running_search_is_seen_as_columns_curves_and_notes(
    url: str, tmp_path: Path, searching: subprocess.Popen[str]
) -> None:
    with browser(tmp_path, width=2400) as driver:
        wait = WebDriverWait(driver, 30)
        driver.get(f"{url}/dashboard/studies/1/smartSelection")
        wait.until(lambda d: d.find_elements(By.CSS_SELECTOR, "th"))
        columns = [cell.text.split("\n")[0] for cell in driver.find_elements(By.CSS_SELECTOR, "th")]
        for name in ("architecture", "parameters", "reason"):
            assert f"UserAttribute {name}" in columns, columns
        rows = [row.text for row in driver.find_elements(By.CSS_SELECTOR, "tbody tr")]
        assert any("-linear" in row for row in rows)
        driver.get(f"{url}/dashboard/studies/1")
        wait.until(lambda d: d.find_elements(By.CSS_SELECTOR, ".plotly"))
        wait.until(lambda d: "cnn-search" in d.page_source)
        assert "validation accuracy" in driver.page_source
        driver.get(f"{url}/dashboard/studies/1/trials?numbers=0")
        wait.until(lambda d: "conv 3×3" in d.page_source)
        shown = driver.find_element(By.TAG_NAME, "body").text
        assert "output shape" in shown
        note = load(tmp_path).trials[0].user_attrs
        assert f"{note['parameters']:,}" in shown
        assert "Intermediate Values" in shown
        severe = [
            entry
            for entry in driver.get_log("browser")  # type: ignore[no-untyped-call]
            if entry["level"] == "SEVERE"
        ]
        assert [e for e in severe if "favicon" not in e["message"]] == []
    assert searching.poll() is None, "the search still runs"


def test_a_missing_study_is_said_and_not_created(tmp_path: Path) -> None:
    done = subprocess.run(
        [*DASHBOARD, "--storage", str(tmp_path / "none.db")],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 2
    assert "no study" in done.stderr
    assert done.stderr.count("\n") == 1
    assert list(tmp_path.iterdir()) == []
