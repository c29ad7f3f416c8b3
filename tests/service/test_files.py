"""What is written for each manager of services, and what its tools are told."""

from __future__ import annotations

import plistlib
import subprocess
import sys
from pathlib import Path

import pytest

from cli.command import run
from harness import need
from portway.cli import service as cli
from portway.config.load import load
from portway.service import kinds, launchd, paths, systemd, windows
from portway.service.kinds import Service, ServiceError

ODD = Service(("/opt/my tools/portway",), (Path('/etc/100% "sure"/$HOME.yml'),))
PLAIN = Service(("/usr/bin/portway",), (Path("/etc/portway.yml"), Path("/srv/more.yml")))


@pytest.fixture
def calls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of tools that write down how they were called; a file `NAME.fail` makes one fail with its text."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for name in ("launchctl", "sc.exe", "reg.exe", "icacls.exe", "net"):
        tool = folder / name
        tool.write_text(
            f'#!/bin/sh\n(printf "%s" {name}; printf "|%s" "$@"; echo) >>{folder}/calls\n'
            f'for f in {folder}/{name}.fail {folder}/{name}.$1.fail; do [ -e "$f" ] && cat "$f" >&2 && exit 5; done\n'
            "exit 0\n"
        )
        tool.chmod(0o755)
    monkeypatch.setenv("PATH", str(folder), prepend=":")
    return folder


def called(folder: Path) -> list[list[str]]:
    file = folder / "calls"
    lines = file.read_text().splitlines() if file.exists() else []
    file.unlink(missing_ok=True)
    return [line.split("|") for line in lines]


# === systemd


def test_a_unit_with_odd_paths_is_understood_by_systemd(tmp_path: Path) -> None:
    analyze = need.program("systemd-analyze", "systemd")
    script = tmp_path / "my tools 100%" / "port$HOME"
    script.parent.mkdir()
    script.write_text("#!/bin/sh\n")
    script.chmod(0o755)
    unit = tmp_path / "portway.service"
    unit.write_text(systemd.unit(Service((str(script),), ODD.config)))
    drop_in = tmp_path / "portway.service.d" / "hardening.conf"
    drop_in.parent.mkdir()
    drop_in.write_text(systemd.hardening(ODD))
    done = subprocess.run([analyze, "verify", str(unit)], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


def test_words_of_a_unit_mean_themselves() -> None:
    for word, written in (
        ("/plain/path-1.yml", "/plain/path-1.yml"),
        ("a b", '"a b"'),
        ("100%", "100%%"),
        ("$HOME", "$$HOME"),
        ('say "x"', '"say \\"x\\""'),
        ("back\\slash", '"back\\\\slash"'),
        ("", '""'),
        (";", '";"'),
    ):
        assert systemd.quoted(word) == written


def test_the_unit_starts_again_after_a_crash_and_not_after_an_end_in_order() -> None:
    lines = systemd.unit(PLAIN).splitlines()
    for line in (
        "Type=notify",
        "Restart=on-failure",
        "RestartSec=15",
        "LimitNOFILE=65536",
        "WantedBy=multi-user.target",
        "LoadCredential=portway.authtoken",
        "EnvironmentFile=-/etc/sysconfig/portway",
        "ExecStart=/usr/bin/portway service run --config /etc/portway.yml --config /srv/more.yml",
    ):
        assert line in lines
    assert not [line for line in lines if line.startswith("User=")]
    assert "User=kim" in systemd.unit(Service(("/p",), (Path("/c"),), user="kim"))


def test_the_drop_in_leaves_what_the_configuration_needs() -> None:
    strict = systemd.hardening(PLAIN).splitlines()
    assert {"NoNewPrivileges=yes", "ProtectSystem=full", "PrivateTmp=yes", "CapabilityBoundingSet="} <= set(strict)
    loose = systemd.hardening(Service(("/p",), (Path("/c"),), temporary=True, writes=(Path("/etc/a b"),)))
    assert "PrivateTmp=no" in loose
    assert 'ReadWritePaths="/etc/a b"' in loose


def test_what_a_configuration_names_is_found(tmp_path: Path) -> None:
    file = tmp_path / "portway.yml"
    file.write_text(
        "version: 3\nagent: {connect_cas: /etc/ca.pem, log: /var/log/p.log}\nendpoints:\n"
        "  - {name: a, upstream: {url: 'file:///srv/www'}}\n  - {name: b, upstream: {url: 'unix:///run/b.sock'}}\n"
        "  - {name: c, upstream: {url: 8080}}\n"
    )
    config = load([file])
    assert set(paths.named(config)) == {
        *(file, Path("/etc/ca.pem"), Path("/var/log/p.log"), Path("/srv/www"), Path("/run/b.sock"))
    }
    assert paths.log_file(config) == Path("/var/log/p.log")


# === other init systems


@pytest.mark.parametrize(
    ("there", "said"), [("run/openrc", "OpenRC"), ("run/runit", "runit"), (".dockerenv", "container"), ("", "systemd")]
)
def test_without_a_known_manager_the_command_to_run_is_told(
    there: str,
    said: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    root = tmp_path / "root"
    (root / there).mkdir(parents=True)
    file = tmp_path / "my portway.yml"
    file.write_text("version: 3\nendpoints: [{name: a, upstream: {url: 8080}}]\n")
    find = kinds.find
    monkeypatch.setattr("portway.service.kinds.find", lambda: find(root))
    monkeypatch.setattr("sys.argv", ["/usr/lib/portway/__main__.py"])
    code, _, err = run(capsys, "service", "install", "--config", str(file))
    assert code == 1
    assert said in err
    assert f"{sys.executable} -m portway service run --config '{file}'" in err


def test_an_installation_needs_a_valid_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, _, err = run(capsys, "service", "install")
    assert (code, "--config FILE" in err) == (1, True)
    file = tmp_path / "broken.yml"
    file.write_text("version: 3\nagent: {authtokn: x}\n")
    code, out, err = run(capsys, "service", "install", "--config", str(file))
    assert (code, out) == (1, "")
    assert "authtokn" in err


def test_what_makes_a_service_useless_is_remarked(tmp_path: Path) -> None:
    file = tmp_path / "portway.yml"
    file.write_text("version: 3\n")
    remarks = "\n".join(cli._remarks(load([file])))
    assert "no endpoint" in remarks
    assert "this machine only" in remarks
    file.write_text("version: 3\nagent: {connect_url: e:1}\nendpoints: [{name: a, upstream: {url: 1}}]\n")
    assert cli._remarks(load([file])) == [
        "the configuration file has no authtoken: give it to the service in another way"
    ]


# === launchd


@pytest.mark.parametrize("daemon", [True, False])
def test_b21_launchd_is_told_to_load_and_to_let_go(daemon: bool, tmp_path: Path, calls: Path) -> None:
    manager = launchd.Launchd(tmp_path, tmp_path / "home", daemon=daemon)
    (calls / "launchctl.print.fail").write_text("not loaded")
    manager.install(PLAIN)
    place = "Library/LaunchDaemons" if daemon else "home/Library/LaunchAgents"
    assert manager.plist == tmp_path / place / "dev.portway.agent.plist"
    assert called(calls) == [], "it starts when it is told to, or with the machine"
    manager.start()
    assert called(calls)[-1] == ["launchctl", "bootstrap", manager.domain, str(manager.plist)]
    (calls / "launchctl.print.fail").unlink()
    manager.restart()
    assert called(calls)[-1] == ["launchctl", "kickstart", "-k", manager.target]
    with pytest.raises(ServiceError, match="exists already"):
        manager.install(PLAIN)
    manager.uninstall()
    assert called(calls)[-1] == ["launchctl", "bootout", manager.target]
    assert not manager.plist.exists()
    with pytest.raises(ServiceError, match="not installed"):
        manager.start()


def test_b21_exit_code_5_of_launchd_is_explained(tmp_path: Path, calls: Path) -> None:
    manager = launchd.Launchd(tmp_path, daemon=True)
    manager.install(PLAIN)
    (calls / "launchctl.fail").write_text("Bootstrap failed: 5: Input/output error")
    with pytest.raises(ServiceError) as caught:
        manager.start()
    assert "exit code 5" in str(caught.value)
    assert "cannot read its configuration file" in str(caught.value)
    assert str(manager.plist) in str(caught.value)


def test_b21_the_property_list_says_what_runs() -> None:
    made = plistlib.loads(launchd.plist(Service(("/p q",), (Path("/c"),), user="kim"), daemon=True))
    assert made["Label"] == "dev.portway.agent"
    assert made["ProgramArguments"] == ["/p q", "service", "run", "--config", "/c"]
    assert made["RunAtLoad"] is True
    assert made["KeepAlive"] == {"SuccessfulExit": False}
    assert made["ThrottleInterval"] == 15
    assert made["UserName"] == "kim"
    assert "UserName" not in plistlib.loads(launchd.plist(Service(("/p",), (), user="kim"), daemon=False))


# === Windows


def test_b21_windows_gets_a_service_its_recovery_an_event_source_and_a_private_file(calls: Path) -> None:
    service = Service((r"C:\Program Files\Python\python.exe", "-I", "-c", "x"), (Path("/c d.yml"),))
    windows.Windows().install(service)
    create, description, failure, source, _, acl = called(calls)
    assert create[:3] == ["sc.exe", "create", "portway"]
    options = dict(zip(create[3::2], create[4::2], strict=True))
    assert options["start="] == "delayed-auto"
    assert options["obj="] == r"NT SERVICE\portway"
    line = r'"C:\Program Files\Python\python.exe" -I -c x service run --config "/c d.yml"'
    assert options["binPath="] == line
    assert description[:2] == ["sc.exe", "description"]
    assert failure[-1] == "restart/15000/restart/15000/restart/15000"
    assert failure[failure.index("reset=") + 1] == "86400"
    assert source[2].endswith(r"\EventLog\Application\portway")
    assert acl[:3] == ["icacls.exe", "/c d.yml", "/inheritance:r"]
    assert r"NT SERVICE\portway:R" in acl


def test_b21_windows_is_told_by_its_own_tools(calls: Path) -> None:
    manager = windows.Windows()
    manager.restart()
    assert called(calls) == [["net", "stop", "portway"], ["net", "start", "portway"]]
    manager.uninstall()
    assert [words[:3] for words in called(calls)][:2] == [["net", "stop", "portway"], ["sc.exe", "delete", "portway"]]


def test_b21_exit_code_5_of_windows_is_explained(calls: Path) -> None:
    (calls / "sc.exe.fail").write_text("OpenSCManager FAILED 5")
    with pytest.raises(ServiceError, match="Run as administrator"):
        windows.Windows().install(PLAIN)


def test_the_program_of_a_windows_service_finds_its_package() -> None:
    """The manager of Windows must talk to the process it started, which is a bare interpreter."""
    python, *flags, code = windows.program()
    assert flags == ["-I", "-c"]
    code = code.replace("main(sys.argv[1:])", "print(callable(main))")
    done = subprocess.run([python, *flags, code], capture_output=True, text=True)
    assert done.stdout == "True\n", done.stderr
