"""`portway update` against a real server with signed releases, and with what is passed off as one (§11)."""

from __future__ import annotations

import functools
import json
import os
import shutil
import socket
import socketserver
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

import portway
from harness import need
from harness.agents import Agents
from harness.edge import Edge, isolated
from harness.process import Process, until
from harness.process import portway as portway_command
from harness.terminal import Terminal
from portway.update import install
from portway.update.manifest import here

NEWER = '#!/bin/sh\necho "portway version 3.39.0 (portway 0.2.0)"\n'
BROKEN = "#!/bin/sh\nexit 3\n"


class Releases:
    """A server with the releases of one key, and a build of ours that trusts it."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.minisign = need.program("minisign", "minisign")
        self.folder = home / "releases"
        self.folder.mkdir()
        handler = functools.partial(QuietHandler, directory=str(self.folder))
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self.key = self.new_key("ours")

    def new_key(self, name: str) -> str:
        pair = ["-p", str(self.home / f"{name}.pub"), "-s", str(self.home / f"{name}.key")]
        subprocess.run([self.minisign, "-G", "-W", "-f", *pair], check=True, capture_output=True)
        return (self.home / f"{name}.pub").read_text().splitlines()[1]

    @property
    def file(self) -> str:
        return "-".join(part for part in ("portway", "0.2.0", *here()) if part)

    def release(self, content: str = NEWER, version: str = "0.2.0", *flags: str, key: str = "ours") -> None:
        name = self.file.replace("0.2.0", version)
        (self.folder / name).write_text(content)
        words = ["--version", version, "--url", self.url, "--key", str(self.home / f"{key}.key"), *flags]
        tool = [sys.executable, str(need.ROOT / "tools" / "release"), str(self.folder), *words]
        done = subprocess.run(tool, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr

    def change(self, **fields: Any) -> None:
        """The manifest says something else, and is signed anew."""
        path = self.folder / "stable.json"
        path.write_text(json.dumps({**json.loads(path.read_text()), **fields}))
        subprocess.run([self.minisign, "-S", "-s", str(self.home / "ours.key"), "-m", str(path)], check=True)

    def install(self, *, standalone: bool) -> Path:
        """Our package as such a build has it; the executable."""
        library = self.home / "lib"
        shutil.copytree(Path(portway.__file__).parent, library / "portway")
        build = f"ADDRESS = {self.url!r}\nKEYS = ({self.key!r},)\nSTANDALONE = {standalone}\n"
        (library / "portway" / "update" / "build.py").write_text(build)
        executable = self.home / "bin" / "portway"
        executable.parent.mkdir()
        executable.write_text(
            f"#!{sys.executable}\nimport sys\nsys.path.insert(0, {str(library)!r})\n"
            "from portway.__main__ import main\nsys.exit(main())\n"
        )
        executable.chmod(0o755)
        return executable


class QuietHandler(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - its name above
        pass


class Mumbling(socketserver.BaseRequestHandler):
    """Speaks something else."""

    def handle(self) -> None:
        self.request.sendall(b"SSH-2.0-other\r\n\r\n")
        self.request.recv(1 << 16)


@pytest.fixture
def releases(tmp_path: Path) -> Iterator[Releases]:
    made = Releases(tmp_path)
    yield made
    made.server.shutdown()
    made.server.server_close()


def run(executable: Path, *argv: str) -> subprocess.CompletedProcess[str]:
    env = {**isolated(executable.parent.parent / "home"), "PATH": "/usr/bin:/bin"}
    return subprocess.run([str(executable), *argv], env=env, capture_output=True, text=True, timeout=60)


def untouched(executable: Path, before: bytes) -> bool:
    return executable.read_bytes() == before and [one.name for one in executable.parent.iterdir()] == ["portway"]


def test_a_newer_version_takes_the_place_of_this_one(releases: Releases) -> None:
    executable = releases.install(standalone=True)
    before = executable.read_bytes()
    releases.release()
    done = run(executable, "update")
    assert done.returncode == 0, done.stderr
    assert "from 0.1.0 to 0.2.0" in done.stdout
    assert executable.read_text() == NEWER
    assert executable.stat().st_mode & 0o777 == 0o755
    assert executable.with_name("portway.old").read_bytes() == before
    assert "0.2.0" in run(executable, "version").stdout


def test_the_newest_version_stays(releases: Releases) -> None:
    executable = releases.install(standalone=True)
    before = executable.read_bytes()
    releases.release(version=portway.__version__)
    done = run(executable, "update")
    assert (done.returncode, "is the newest version (channel stable)" in done.stdout) == (0, True)
    assert untouched(executable, before)


@pytest.mark.parametrize(
    ("trouble", "said"),
    [
        ("unsigned", "status 404"),
        ("tampered manifest", "not signed by a key"),
        ("another key", "not signed by a key"),
        ("broken signature", "signature of the release is broken"),
        ("expired", "has expired"),
        ("older", "older than 0.1.0"),
        ("another channel", "channel beta"),
        ("tampered file", "its hash differs"),
        ("truncated file", "ended after"),
        ("longer file", "larger than announced"),
        ("no such machine", "no file for this machine"),
        ("does not run", "does not run on this machine"),
        ("another version", "does not run on this machine"),
        ("major step", "--major"),
        ("needs a step between", "update to 0.1.5 first"),
        ("nonsense", "cannot be read"),
        ("no HTTP", "Cannot fetch"),
    ],
)
def test_what_cannot_be_trusted_changes_nothing(trouble: str, said: str, releases: Releases) -> None:
    executable = releases.install(standalone=True)
    before = executable.read_bytes()
    manifest, signature = releases.folder / "stable.json", releases.folder / "stable.json.minisig"
    file = releases.folder / releases.file
    releases.new_key("theirs")
    content = {"does not run": BROKEN, "another version": NEWER.replace("0.2.0", "0.3.0")}.get(trouble, NEWER)
    version = {"older": "0.0.9", "major step": "1.0.0"}.get(trouble, "0.2.0")
    releases.release(content, version, key="theirs" if trouble == "another key" else "ours")
    if trouble == "unsigned":
        signature.unlink()
    elif trouble == "tampered manifest":
        manifest.write_text(manifest.read_text().replace("0.2.0", "0.2.1"))
    elif trouble == "broken signature":
        signature.write_text(signature.read_text()[:60])
    elif trouble == "expired":
        releases.change(expires="2020-01-01T00:00:00+00:00")
    elif trouble == "another channel":
        releases.change(channel="beta")
    elif trouble == "tampered file":
        file.write_text(NEWER.replace("echo", "Echo"))
    elif trouble == "truncated file":
        file.write_text(NEWER[:-5])
    elif trouble == "longer file":
        file.write_text(NEWER + "#")
    elif trouble == "no such machine":
        releases.change(files=[])
    elif trouble == "needs a step between":
        releases.change(min_from="0.1.5")
    elif trouble == "nonsense":
        releases.change(version="new")
    elif trouble == "no HTTP":
        releases.server.RequestHandlerClass = Mumbling
    done = run(executable, "update")
    assert done.returncode == 1
    assert said in done.stderr, done.stderr
    assert "Traceback" not in done.stderr
    assert untouched(executable, before)


def test_a_major_step_is_taken_by_who_consents(releases: Releases) -> None:
    executable = releases.install(standalone=True)
    releases.release(NEWER.replace("0.2.0", "1.0.0"), "1.0.0")
    assert run(executable, "update", "--major").returncode == 0
    assert "1.0.0" in run(executable, "version").stdout


def test_what_pip_installed_is_left_to_pip(releases: Releases) -> None:
    executable = releases.install(standalone=False)
    before = executable.read_bytes()
    releases.release()
    done = run(executable, "update")
    assert done.returncode == 0, done.stderr
    assert "0.2.0 is the newest" in done.stdout
    assert "-m pip install --upgrade portway" in done.stdout
    assert untouched(executable, before)


@pytest.mark.parametrize(
    ("prefix", "command"),
    [
        ("/home/kim/.local/pipx/venvs/portway", "pipx upgrade portway"),
        ("/home/kim/.local/share/uv/tools/portway", "uv tool upgrade portway"),
        ("/home/kim/venv", "-m pip install --upgrade portway"),
    ],
)
def test_who_installed_it_is_told_the_command(prefix: str, command: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.prefix", prefix)
    assert command in install.find().command


def test_a_container_is_replaced_as_a_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PORTWAY_INSTALLED_BY", "image")
    assert "image" in install.find().command


def test_a_package_of_the_system_is_found_by_asking_for_its_owner() -> None:
    need.program("dpkg-query", "dpkg")
    assert install._owns("dpkg-query", "--search", Path("/usr/bin/dpkg"))
    assert not install._owns("dpkg-query", "--search", Path(__file__))


def test_the_old_version_comes_back_after_three_starts_that_did_not_get_online(releases: Releases) -> None:
    executable = releases.install(standalone=True)
    new = executable.read_text() + "# new\n"
    old = '#!/bin/sh\necho "the old one: $*"\n'
    executable.with_name("portway.old").write_text(old)
    executable.with_name("portway.old").chmod(0o755)
    executable.write_text(new)
    executable.with_name("portway.trial").write_text('{"version": "0.2.0", "starts": 0}')
    for _ in range(3):
        done = run(
            executable,
            "http",
            "8080",
            "--connect-url",
            "127.0.0.1:9",
            "--authtoken",
            "x",
            "--connect-cas",
            "pin:sha256:" + "0" * 64,
            "--log",
            "/nonexistent/log",
        )
        assert done.returncode == 1
        assert executable.read_text() == new
    done = run(executable, "http", "8080")
    assert done.stdout == "the old one: http 8080\n"
    assert executable.read_text() == old
    assert [one.name for one in executable.parent.iterdir()] == ["portway"]


def test_once_the_new_version_has_been_online_the_old_one_goes(releases: Releases, edge: Edge) -> None:
    executable = releases.install(standalone=True)
    for name, text in (("portway.old", "old"), ("portway.trial", '{"version": "0.2.0", "starts": 2}')):
        executable.with_name(name).write_text(text)
    env = {**isolated(releases.home / "home"), **edge.agent_env()}
    agent = Process("agent", [str(executable), "start", "--none", "--log", "stdout"], env={**env, "NOTIFY_SOCKET": ""})
    try:
        agent.wait_for("tunnel session started")
    finally:
        assert agent.stop() == 0
    assert [one.name for one in executable.parent.iterdir()] == ["portway"]


# === from afar


class Managed:
    """An agent of a build that updates itself, and the operator of its edge."""

    def __init__(self, releases: Releases, edge: Edge, *flags: str) -> None:
        self.releases, self.edge = releases, edge
        self.executable = releases.install(standalone=True)
        env = {**isolated(releases.home / "home"), **edge.agent_env(), "NOTIFY_SOCKET": ""}
        argv = [str(self.executable), "start", "--none", *flags, "--log", "stdout", "--log-format", "logfmt"]
        self.agent = Process("agent", argv, env=env)
        self.agent.wait_for("tunnel session started")

    def newer(self, version: str = "0.2.0", *flags: str) -> str:
        """Releases a version that is ours in all but its number; the program."""
        library = self.releases.home / f"lib-{version}"
        shutil.copytree(self.releases.home / "lib", library)
        init = library / "portway" / "__init__.py"
        init.write_text(init.read_text().replace(portway.__version__, version))
        program = self.executable.read_text().replace(str(self.releases.home / "lib"), str(library))
        self.releases.release(program, version, *flags)
        return program

    def update(self, *flags: str) -> Process:
        session = self.edge.process.wait_for("agent connected")["id"]
        words = ["edge", "agents", "update", session, "--data-dir", str(self.edge.data), *flags]
        done = Process("operator", [*portway_command(), *words], env=isolated(self.releases.home / "operator"))
        done.wait()
        return done


@pytest.fixture
def managed(releases: Releases, edge: Edge) -> Iterator[Callable[..., Managed]]:
    made: list[Managed] = []

    def make(*flags: str) -> Managed:
        made.append(Managed(releases, edge, *flags))
        return made[-1]

    yield make
    for one in made:
        one.agent.stop()


def test_b18_an_update_from_the_edge_is_installed_and_started(managed: Callable[..., Managed]) -> None:
    one = managed()
    program = one.newer()
    before = one.agent.position
    done = one.update()
    assert done.popen.returncode == 0, done.text()
    assert one.agent.wait_for("received update request", since=before)["from"] == "remote"
    assert one.agent.wait_for("update installed", since=before)["version"] == "0.2.0"
    until("two sessions", lambda: one.agent.text().count("tunnel session started") == 2)
    assert one.agent.running()
    assert one.executable.read_text() == program
    until("it has proved itself", lambda: [path.name for path in one.executable.parent.iterdir()] == ["portway"])


def test_b18_without_a_newer_version_nothing_happens(managed: Callable[..., Managed]) -> None:
    one = managed()
    one.releases.release(version=portway.__version__)
    assert one.update().popen.returncode == 0
    assert one.agent.text().count("tunnel session started") == 1
    assert one.agent.running()


@pytest.mark.parametrize(
    ("version", "flags", "said"),
    [
        ("1.0.0", (), "read its notes"),
        ("0.2.0", ("--to", "0.3.0"), "0.3.0 is not on offer"),
        ("0.0.9", (), "older than"),
    ],
)
def test_b18_an_update_that_may_not_be_is_refused_with_the_reason(
    version: str, flags: tuple[str, ...], said: str, managed: Callable[..., Managed]
) -> None:
    one = managed()
    before = one.executable.read_bytes()
    one.newer(version)
    done = one.update(*flags)
    assert done.popen.returncode == 1
    assert said in done.text("err")
    assert "ERR_NGROK_809" in done.text("err")
    assert untouched(one.executable, before)
    assert one.agent.running()


def test_b18_a_major_step_from_the_edge_takes_its_word(managed: Callable[..., Managed]) -> None:
    one = managed()
    program = one.newer("1.0.0")
    assert one.update("--major", "--to", "1.0.0").popen.returncode == 0
    assert one.executable.read_text() == program


def test_b18_what_cannot_be_written_is_not_updated(releases: Releases, monkeypatch: pytest.MonkeyPatch) -> None:
    executable = releases.install(standalone=True)
    monkeypatch.setattr("sys.argv", [str(executable)])
    monkeypatch.setattr("os.access", lambda *_: False)
    assert install.unsupported(install.Install(""), releases.url) == "the executable is not writable by the agent"


# === on offer


OFFER = "update available (version 0.2.0, Ctrl-U to update)"


def test_a_newer_version_is_told_at_the_start_and_nothing_waits_for_that(managed: Callable[..., Managed]) -> None:
    one = managed()
    failed = one.agent.wait_for("failed to check for update")
    assert (failed["lvl"], failed["obj"]) == ("warn", "updater")
    assert "404" in failed["err"]
    one.newer()
    before = one.agent.position
    session = one.edge.process.wait_for("agent connected")["id"]
    words = ["edge", "agents", "restart", session, "--data-dir", str(one.edge.data)]
    subprocess.run([*portway_command(), *words], env={**os.environ, **isolated(one.releases.home / "o")}, check=True)
    told = one.agent.wait_for("update available", since=before)
    assert (told["lvl"], told["obj"], told["version"]) == ("info", "updater", "0.2.0")
    assert not one.executable.with_name("portway.old").exists(), "nothing is installed without a word"


def test_a_server_that_says_nothing_delays_nothing(
    releases: Releases, edge: Edge, managed: Callable[..., Managed]
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        releases.url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        one = managed()
        asking = [silent.accept() for _ in range(2)]
        failed = one.agent.wait_for("failed to check for update")
        assert "no answer within 5s" in failed["err"]
        records = [record["msg"] for record in one.agent.records()]
        assert records.index("tunnel session started") < records.index("failed to check for update")
        for connection, _ in asking:
            connection.close()


@pytest.mark.parametrize("trouble", ["signed by others", "expired"])
def test_what_cannot_be_trusted_is_not_on_offer(
    trouble: str, managed: Callable[..., Managed], releases: Releases
) -> None:
    releases.new_key("theirs")
    releases.release(key="theirs" if trouble == "signed by others" else "ours")
    if trouble == "expired":
        releases.change(expires="2020-01-01T00:00:00+00:00")
    one = managed()
    failed = one.agent.wait_for("failed to check for update")
    assert {"signed by others": "not signed", "expired": "expired"}[trouble] in failed["err"]


def test_who_does_not_want_to_be_told_is_not(releases: Releases, edge: Edge, managed: Callable[..., Managed]) -> None:
    releases.release()
    quiet = releases.home / "quiet.yml"
    quiet.write_text("version: 3\nagent: {update_check: false}\n")
    one = managed("--config", str(quiet))
    until("it serves", lambda: edge.metric("portway_agent_sessions") == 1)
    one.agent.stop()
    assert "updater" not in one.agent.text()


def test_a_build_without_an_address_asks_nobody(alone: Agents) -> None:
    agent = alone.run("start", "--none", env={"PORTWAY_CONNECT_URL": "127.0.0.1:9", "PORTWAY_AUTHTOKEN": "x"})
    agent.wait_for("failed to reconnect session")
    assert "updater" not in agent.text()


def test_ctrl_u_installs_what_is_on_offer_after_a_yes(
    releases: Releases, edge: Edge, terminals: Callable[..., Terminal]
) -> None:
    executable = releases.install(standalone=True)
    old = executable.read_text()
    library = releases.home / "lib-0.2.0"
    shutil.copytree(releases.home / "lib", library)
    init = library / "portway" / "__init__.py"
    init.write_text(init.read_text().replace(portway.__version__, "0.2.0"))
    new = old.replace(str(releases.home / "lib"), str(library))
    releases.release(new)
    env = {**isolated(releases.home / "home"), **edge.agent_env(), "NOTIFY_SOCKET": ""}
    terminal = terminals(str(executable), "start", "--none", env=env)
    terminal.wait("the offer", lambda text: f"Update                        {OFFER}" in text)
    for answer in (b"n", b"\r"):
        terminal.type(b"\x15")
        terminal.wait("the question", lambda text: "install 0.2.0 and start again? (y/n)" in text)
        terminal.type(answer)
        terminal.wait("the offer", lambda text: OFFER in text)
    assert executable.read_text() == old
    terminal.type(b"\x15y")
    until("it is the new one", lambda: executable.read_text() == new)
    until("it has been online", lambda: not executable.with_name("portway.old").exists())
    terminal.wait(
        "its screen", lambda text: "Session Status                online" in text and "installing" not in text
    )
    assert terminal.popen.poll() is None, "the same process"
    terminal.type(b"\x03")
    assert terminal.end() == 0
    assert terminal.modes() == terminal.before


def test_an_update_that_fails_says_why_on_the_screen(
    releases: Releases, edge: Edge, terminals: Callable[..., Terminal]
) -> None:
    executable = releases.install(standalone=True)
    releases.release(BROKEN)
    env = {**isolated(releases.home / "home"), **edge.agent_env(), "NOTIFY_SOCKET": ""}
    terminal = terminals(str(executable), "start", "--none", env=env)
    terminal.wait("the offer", lambda text: OFFER in text)
    terminal.type(b"\x15y")
    terminal.wait("why not", lambda text: "not updated: Version 0.2.0 does not run on this machine" in text)
    terminal.type(b"\x03")
    assert terminal.end() == 0
