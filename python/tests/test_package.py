"""The package, as it is installed."""

from __future__ import annotations

import importlib.metadata
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import queue_runtime
from queue_runtime import _native

REPOSITORY = Path(__file__).parents[2]


def test_the_version_is_that_of_the_workspace():
    version = re.search(r'^version = "(.*)"', (REPOSITORY / "Cargo.toml").read_text(), re.M)[1]
    assert importlib.metadata.version("queue_runtime") == version
    assert queue_runtime.__version__ == version


def test_only_the_entry_of_the_module_is_exported():
    nm = shutil.which("nm")
    if nm is None:
        pytest.skip("there is no nm")
    command = [nm, "-D", "--defined-only", _native.__file__]
    symbols = subprocess.run(command, capture_output=True, check=True, text=True).stdout
    assert [line.split()[-1] for line in symbols.splitlines()] == ["PyInit__native"]


def test_the_files_of_the_package_are_installed():
    folder = Path(queue_runtime.__file__).parent
    assert REPOSITORY not in folder.parents or "site-packages" in folder.parts
    names = {path.name for path in folder.iterdir()}
    assert {"py.typed", "_native.pyi", "sync.py", "testing.py"} <= names
    installed = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    # The wheel is this, compressed.
    assert installed < 18 << 20


def test_importing_loads_little(program):
    loaded = program.run(
        """
        import sys
        before = set(sys.modules)
        import queue_runtime
        print(*sorted(set(sys.modules) - before))
        """
    ).split()
    for heavy in ("ctypes", "pytest", "typing_extensions", "email", "http"):
        assert heavy not in loaded


def test_the_fixtures_are_a_plugin(program, tmp_path):
    (tmp_path / "test_reminder.py").write_text(
        """
def test_a_reminder(qrt_sync, qrt_clock):
    reminders = qrt_sync.queue("reminders")
    reminders.send("wake up", delay=3600)
    assert reminders.receive_one(0) is None
    qrt_clock.advance(3600)
    assert reminders.receive_one(0).text() == "wake up"


def test_the_next_test_has_an_engine_of_its_own(qrt, qrt_sync):
    assert qrt_sync.queue("reminders").statistics().depth == 0
    (call := qrt.queue("reminders").send("x")).close()


def test_both_clients_have_the_same_engine(qrt, qrt_sync):
    try:
        qrt.queue("jobs").send("x").send(None)
    except StopIteration:
        pass
    assert qrt_sync.queue("jobs").receive_one(0).text() == "x"
"""
    )
    command = [sys.executable, "-m", "pytest", "-q", str(tmp_path)]
    result = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
    assert result.returncode == 0, result.stdout
    assert "3 passed" in result.stdout


SNIPPET = re.compile(r"^```python\n(.*?)^```", re.M | re.S)


def snippets() -> list[str]:
    return [
        snippet
        for page in ("README.md", "python/README.md")
        for snippet in SNIPPET.findall((REPOSITORY / page).read_text())
    ]


def test_the_readmes_show_how():
    assert len(snippets()) >= 3


@pytest.mark.parametrize("snippet", snippets(), ids=lambda text: text.split("\n")[0])
def test_what_the_readmes_show_runs(snippet, program, tmp_path):
    if "def test_" in snippet:
        (tmp_path / "test_snippet.py").write_text(snippet)
        command = [sys.executable, "-m", "pytest", "-q", "-o", "asyncio_mode=auto", str(tmp_path)]
        result = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
        assert result.returncode == 0, result.stdout
    else:
        program.run(snippet)
