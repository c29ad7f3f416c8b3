"""Commands that write a configuration file (config.md §9): one value is put in its place, every other byte stays."""

from __future__ import annotations

import json
import os
import stat
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from cli.command import run
from portway.config import disk, edit
from portway.config.load import load

DEFAULT = Path(".config") / "portway" / "portway.yml"


@pytest.fixture(autouse=True)
def _empty(home: Path) -> None:
    """Every test has a home without files."""


def change(path: Path, key: str = "authtoken", value: str = "new") -> str:
    """What is in the file once a value was set."""
    edit.set_value(path, key, value)
    return path.read_bytes().decode()


# === what stays


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("", 'version: "3"\nagent:\n    authtoken: new\n'),
        ("# mine\n", '# mine\nversion: "3"\nagent:\n    authtoken: new\n'),
        ("# mine", '# mine\nversion: "3"\nagent:\n    authtoken: new\n'),
        ("version: 3", "version: 3\nagent:\n    authtoken: new\n"),
        ("version: 3\nendpoints: []\n", "version: 3\nagent:\n    authtoken: new\nendpoints: []\n"),
        ("version: 3\nagent:\nendpoints: []\n", "version: 3\nagent:\n    authtoken: new\nendpoints: []\n"),
        ("version: 3\nagent: # of the lab\n", "version: 3\nagent: # of the lab\n    authtoken: new\n"),
        ("version: 3\nagent: ~ # none\n", "version: 3\nagent: # none\n    authtoken: new\n"),
        ("version: 3\nagent: {}\n", "version: 3\nagent: {authtoken: new}\n"),
        ("version: 3\nagent: {log: stdout} # x\n", "version: 3\nagent: {authtoken: new, log: stdout} # x\n"),
        ("version: 3\nagent: { authtoken: old }\n", "version: 3\nagent: { authtoken: new }\n"),
        # what is JSON stays JSON
        ('{"version": 3, "agent": {"log": "stdout"}}\n',
         '{"version": 3, "agent": {"authtoken": "new", "log": "stdout"}}\n'),
        ('{"version": 3, "agent": {}}\n', '{"version": 3, "agent": {"authtoken": "new"}}\n'),
        ('{\n\t"version": 3\n}\n', '{\n\t"version": 3, "agent": {"authtoken": "new"}\n}\n'),
        ('{"version": 2, "log": "stdout"}\n', '{"authtoken": "new", "version": 2, "log": "stdout"}\n'),
        ("{version: 3}\n", "{version: 3, agent: {authtoken: new}}\n"),
        ("version: 3\nagent:\n  log: stdout", "version: 3\nagent:\n  authtoken: new\n  log: stdout"),
        ("version: 3\nagent:\n  authtoken: old # lab\n  log: x\n",
         "version: 3\nagent:\n  authtoken: new # lab\n  log: x\n"),
        ('version: 3\nagent:\n  authtoken:   "old"\n', 'version: 3\nagent:\n  authtoken:   "new"\n'),
        ("version: 3\nagent:\n  authtoken:\n  log: x\n", "version: 3\nagent:\n  authtoken: new\n  log: x\n"),
        ("version: 3\nagent:\n  # authtoken: old\n  log: x\n",
         "version: 3\nagent:\n  authtoken: new\n  # authtoken: old\n  log: x\n"),
        ("version: 3\r\nagent:\r\n  log: x\r\n", "version: 3\r\nagent:\r\n  authtoken: new\r\n  log: x\r\n"),
        ("\ufeffversion: 3\nagent:\n  authtoken: old\n", "\ufeffversion: 3\nagent:\n  authtoken: new\n"),
        ("agent:\n  log: x\n", 'version: "3"\nagent:\n  authtoken: new\n  log: x\n'),
        ("version: # later\nagent:\n  log: x\n",
         'version: "3" # later\nagent:\n  authtoken: new\n  log: x\n'),
        ("version: ~\nlog: x\n", 'version: "2"\nauthtoken: new\nlog: x\n'),
        ("log: stdout\n", 'version: "2"\nauthtoken: new\nlog: stdout\n'),
        ("version: 2\nregion: us\ntunnels:\n  w: {proto: http, addr: 1}\n",
         "version: 2\nauthtoken: new\nregion: us\ntunnels:\n  w: {proto: http, addr: 1}\n"),
        ("version: 2\nauthtoken: old\n", "version: 2\nauthtoken: new\n"),
        ("version: 3\nagent:\n  bogus: 1\n  heartbeat_interval: 10\n",
         "version: 3\nagent:\n  authtoken: new\n  bogus: 1\n  heartbeat_interval: 10\n"),
    ],
)  # fmt: skip
def test_a_value_is_put_in_its_place_and_the_rest_stays(before: str, after: str) -> None:
    path = Path("c.yml")
    path.write_bytes(before.encode())
    changed = change(path)
    assert changed == after
    if before.startswith('{"'):
        assert json.loads(changed)
    if "bogus" not in before and "log: x" not in before:
        assert load([path]).agent["authtoken"] == "new"


def test_in_version_2_the_edge_has_its_old_names() -> None:
    path = Path("c.yml")
    path.write_text("version: 2\nauthtoken: t\n")
    assert change(path, "connect_url", "e.test:443") == "version: 2\nserver_addr: e.test:443\nauthtoken: t\n"
    assert change(path, "connect_cas", "host") == "version: 2\nroot_cas: host\nserver_addr: e.test:443\nauthtoken: t\n"


@pytest.mark.parametrize(
    "value", ["123_456", "no", "1e5", "0x1F", "~", "a: b", "#x", "it's", 'q"', "back\\slash", "2001-01-01", "-", "é"]
)
@pytest.mark.parametrize("style", ["", "'", '"'])
def test_any_value_reads_back_as_it_was_given(value: str, style: str) -> None:
    path = Path("c.yml")
    path.write_text(f"version: 3\nagent:\n  metadata: {style}old{style}\n")
    edit.set_value(path, "metadata", value)
    assert load([path]).agent == {"metadata": value}


NUMBERS = ["123_456", "1_0", "0x1F", "0b1", "0o17", "017", "1e5", "12", "2001-01-01", "1.10", "12:30", "0xdead_beef"]


@pytest.mark.parametrize("value", ["2kLmDEF_9", "token", "a.b:443", "/etc/ca.pem", "yes", "null", *NUMBERS])
def test_a_new_value_is_the_same_text_to_any_reader_of_yaml(value: str) -> None:
    path = Path("c.yml")
    edit.set_value(path, "authtoken", value)
    assert yaml.safe_load(path.read_text())["agent"]["authtoken"] == value
    quoted = f'"{value}"' in path.read_text()
    assert quoted == (value in {"yes", "null", *NUMBERS})


def test_the_same_value_again_leaves_the_file_alone() -> None:
    path = Path("c.yml")
    path.write_text("version: 3\nagent:\n  authtoken:    'new'\n")
    before = path.stat()
    change(path)
    assert (path.stat().st_ino, path.stat().st_mtime_ns) == (before.st_ino, before.st_mtime_ns)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("version: 3\nx: &a {log: x}\nagent: *a\n", "line 3, column 1: agent is shared with another part"),
        ("version: 3\nagent: &a {log: x}\nx: *a\n", "line 2, column 1: agent is shared with another part"),
        ("version: 3\nx: &a {log: x}\nagent:\n  <<: *a\n", "line 3, column 1: agent is shared with another part"),
        ("version: 3\nagent: [a]\n", "line 2, column 8: agent: expected a map"),
        ("version: 3\nagent:\n  authtoken: {}\n", "authtoken: expected a text"),
        ("version: 3\nagent: {log: x\n", "YAML parsing error"),
        ("version: 1\n", "version 1: run `portway config upgrade` first"),
        ("- a\n", "the file is no map of keys"),
    ],
)
def test_a_file_that_cannot_be_changed_without_harm_stays_as_it_is(
    text: str, told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    path = Path("c.yml")
    path.write_text(text)
    code, out, err = run(capsys, "config", "add-authtoken", "s3cr3t", "--config", str(path))
    assert (code, out) == (1, "")
    assert told in err
    assert "s3cr3t" not in err
    assert path.read_text() == text
    assert list(Path().iterdir()) == [Path("c.yml")], "nothing is left beside it"


# === the commands


@pytest.mark.parametrize(
    ("command", "value", "told", "key"),
    [
        ("add-authtoken", "tok", "Authtoken saved", "authtoken"),
        ("add-api-key", "key", "API key saved", "api_key"),
        ("add-api-url", "https://e.test", "API URL saved", "api_url"),
        ("add-connect-url", "e.test:443", "Connect URL saved", "connect_url"),
        ("add-server-addr", "e.test:443", "Connect URL saved", "connect_url"),
    ],
)
def test_a_command_makes_the_file_and_says_where(
    command: str, value: str, told: str, key: str, home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = home / DEFAULT
    assert run(capsys, "config", command, value) == (0, f"{told} to configuration file: {path}\n", "")
    assert path.read_text() == f'version: "3"\nagent:\n    {key}: {value}\n'
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert run(capsys, "config", "check")[0] == 0


def test_the_old_spelling_of_add_authtoken_works(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(capsys, "authtoken", "tok", "--config", "a.yml")[:2] == (
        0,
        "Authtoken saved to configuration file: a.yml\n",
    )
    assert run(capsys, "config", "add-authtoken", "tok2", "--log", "stdout", "--config", "a.yml")[0] == 0
    assert load([Path("a.yml")]).agent == {"authtoken": "tok2"}
    assert not (home / DEFAULT).exists()


@pytest.mark.parametrize("value", ["", "a b", "a\tb", "a\nb", "\x1b[2J"])
def test_a_token_is_one_word(value: str, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = run(capsys, "config", "add-authtoken", value)
    assert (code, out) == (1, "")
    assert "must not be empty, nor hold blanks or control characters" in err


@pytest.mark.parametrize("address", ["nowhere:x", "e.test:0", "::1:443", "e.test/path"])
def test_an_address_that_is_none_is_not_saved(address: str, home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, _, err = run(capsys, "config", "add-connect-url", address)
    assert code == 1
    assert repr(address) in err
    assert not (home / DEFAULT).exists()


def test_writing_commands_take_one_file(capsys: pytest.CaptureFixture[str]) -> None:
    code, _, err = run(capsys, "config", "add-authtoken", "t", "--config", "a.yml", "--config", "b.yml")
    assert code == 1
    assert "--config was given more than once" in err


def test_another_programs_file_is_read_and_not_written(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    theirs = home / ".config" / "ngrok" / "ngrok.yml"
    theirs.parent.mkdir(parents=True)
    theirs.write_text("version: 3\nagent: {authtoken: T}\n")
    code, out, err = run(capsys, "config", "add-authtoken", "mine")
    assert (code, out) == (0, f"Authtoken saved to configuration file: {home / DEFAULT}\n")
    assert err == f"{theirs} is no longer read: {home / DEFAULT} takes its place.\n"
    assert theirs.read_text() == "version: 3\nagent: {authtoken: T}\n"


def test_what_is_wrong_elsewhere_does_not_hinder_and_is_told_once(capsys: pytest.CaptureFixture[str]) -> None:
    path = Path("c.yml")
    path.write_text("version: 3\nbogus: 1\nagent:\n  log_level: loud\n")
    path.chmod(0o600)
    code, out, err = run(capsys, "config", "add-authtoken", "t", "--config", "c.yml")
    assert (code, out) == (0, "Authtoken saved to configuration file: c.yml\n")
    told = "Warning: c.yml cannot be used yet, for 2 problems that it had before: `portway config check` tells more.\n"
    assert err == told
    assert path.read_text() == "version: 3\nbogus: 1\nagent:\n  authtoken: t\n  log_level: loud\n"


# === files and their rights


def test_mode_and_link_of_the_file_stay(home: Path) -> None:
    real = home / "real.yml"
    real.write_text("version: 3\n")
    real.chmod(0o640)
    link = home / "link.yml"
    link.symlink_to(real)
    change(link)
    assert link.is_symlink()
    assert "authtoken: new" in real.read_text()
    assert stat.S_IMODE(real.stat().st_mode) == 0o640


def test_who_keeps_a_secret_where_others_can_read_it_is_warned(capsys: pytest.CaptureFixture[str]) -> None:
    path = Path("c.yml")
    path.write_text("version: 3\n")
    path.chmod(0o644)
    code, _, err = run(capsys, "config", "add-authtoken", "t", "--config", "c.yml")
    assert code == 0
    assert err == "Warning: others can read c.yml (mode 644), which holds a secret: run `chmod 600 c.yml`.\n"
    path.chmod(0o600)
    assert run(capsys, "config", "add-authtoken", "u", "--config", "c.yml")[2] == ""


@pytest.fixture
def read_only() -> Iterator[Path]:
    """A folder in which this process, root or not, may write nothing."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o555)
        root = os.geteuid() == 0
        if root:
            os.seteuid(65534)
        try:
            yield folder
        finally:
            if root:
                os.seteuid(0)
            folder.chmod(0o755)


@pytest.mark.parametrize("name", ["portway.yml", "deeper/portway.yml"])
def test_a_place_that_cannot_be_written_is_named_with_the_reason(
    name: str, read_only: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, err = run(capsys, "config", "add-authtoken", "s3cr3t", "--config", str(read_only / name))
    assert (code, out) == (1, "")
    assert err == f"ERROR:  Cannot write the configuration file {read_only / name}: Permission denied\n"


def test_a_file_where_a_folder_should_be_is_named(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (home / ".config").write_text("")
    code, _, err = run(capsys, "config", "add-authtoken", "t")
    assert code == 1
    assert err.startswith(f"ERROR:  Cannot write the configuration file {home / DEFAULT}: ")


def test_two_writers_at_once_lose_nothing() -> None:
    path = Path("c.yml").absolute()
    keys = ["authtoken", "api_key", "metadata", "connect_url", "log", "connect_cas"]
    writers = [threading.Thread(target=edit.set_value, args=(path, key, f"v-{key}:1")) for key in keys]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join(30)
    text = path.read_text()
    assert all(f"    {key}: v-{key}:1\n" in text for key in keys), text
    assert list(Path().iterdir()) == [Path("c.yml")]


def test_a_lock_that_stays_is_named(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(disk, "LOCK_WAIT", 0)
    Path("c.yml.lock").touch()
    code, _, err = run(capsys, "config", "add-authtoken", "t", "--config", "c.yml")
    assert code == 1
    assert "c.yml.lock" in err
    assert not Path("c.yml").exists()


# === edit


def editor(home: Path, monkeypatch: pytest.MonkeyPatch, script: str) -> None:
    file = home / "an editor"
    file.write_text(f"#!/bin/sh\n{script}\n")
    file.chmod(0o755)
    monkeypatch.setenv("EDITOR", f"'{file}' --wait")


def test_edit_opens_a_commented_skeleton_and_checks_what_was_made_of_it(
    home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    editor(home, monkeypatch, 'test "$1" = --wait && cp "$2" seen && printf "version: 3\\n" > "$2"')
    code, out, _ = run(capsys, "config", "edit")
    assert (code, out) == (0, f"Valid configuration file at {home / DEFAULT}\n")
    assert stat.S_IMODE((home / DEFAULT).stat().st_mode) == 0o600
    skeleton = (home / "seen").read_text()
    assert "connect_url" in skeleton
    (home / "seen.yml").write_text(skeleton)
    assert load([home / "seen.yml"]).entries == []
    uncommented = "".join(line.replace("# ", "", 1) + "\n" for line in skeleton.splitlines())
    (home / "seen.yml").write_text(uncommented)
    assert load([home / "seen.yml"]).entries[0].name == "web"


def test_edit_works_on_a_broken_file_and_tells_what_is_wrong(
    home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    editor(home, monkeypatch, "exit 0")
    Path("c.yml").write_text("version: 3\nbogus: 1\n")
    code, out, err = run(capsys, "config", "edit", "--config", "c.yml")
    assert (code, out) == (0, "")
    assert "line 2, column 1: unknown key bogus" in err


def test_edit_tells_that_another_programs_file_is_left(
    home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    editor(home, monkeypatch, "exit 0")
    theirs = home / ".config" / "ngrok" / "ngrok.yml"
    theirs.parent.mkdir(parents=True)
    theirs.write_text("version: 3\n")
    code, _, err = run(capsys, "config", "edit")
    assert code == 0
    assert err.splitlines()[0].startswith(f"{theirs} is another program's, and is no longer read once {home / DEFAULT}")


def test_an_editor_that_is_not_there_is_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("EDITOR", "no-such-editor")
    code, _, err = run(capsys, "config", "edit")
    assert code == 1
    assert "Cannot start the editor no-such-editor: No such file or directory. Set EDITOR to another." in err
