"""Windows opens a window for a program that is clicked on, and closes it when that ends (cli.md §1)."""

from __future__ import annotations

import ctypes
import subprocess
from collections.abc import Callable
from types import SimpleNamespace

import pytest

from portway import __main__ as command
from portway.cli import window

Clicked = Callable[..., list[list[str]]]


@pytest.fixture
def clicked(monkeypatch: pytest.MonkeyPatch) -> Clicked:
    """Runs the command as on Windows, in a window that so many processes have; what it has started."""
    started: list[list[str]] = []

    def run(argv: list[str], processes: int) -> list[list[str]]:
        kernel = SimpleNamespace(GetConsoleProcessList=lambda room, size: processes)
        with monkeypatch.context() as patch:
            patch.setattr(ctypes, "WinDLL", lambda name: kernel, raising=False)
            patch.setattr(subprocess, "run", lambda argv, **_: started.append(argv))
            patch.setattr("sys.argv", argv)
            patch.delenv("COMSPEC", raising=False)
            patch.setattr("os.name", "nt")
            command.answered_at_once()
        return started

    return run


@pytest.mark.parametrize("name", ["portway.exe", "portway", "ngrok.exe", "Portway.EXE"])
def test_clicked_on_it_leaves_a_shell_with_help(
    name: str, clicked: Clicked, capsys: pytest.CaptureFixture[str]
) -> None:
    program = f"C:\\Program Files\\portway\\{name}"
    (started,) = clicked([program], window.OURS)
    full = program if name.lower().endswith(".exe") else f"{program}.exe"
    assert started == ["cmd.exe", "/K", full, "--help"]
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    ("argv", "processes"),
    [
        (["C:\\x\\portway.exe"], window.OURS + 1),  # in a shell
        (["C:\\x\\portway.exe"], 0),  # without a window
        (["C:\\x\\portway\\__main__.py"], window.OURS),  # `python -m portway` in a shell
        (["C:\\x\\portway.exe", "version"], window.OURS),
    ],
)
def test_any_other_way_it_just_answers(
    argv: list[str], processes: int, clicked: Clicked, capsys: pytest.CaptureFixture[str]
) -> None:
    assert clicked(argv, processes) == []
    assert "portway" in capsys.readouterr().out
