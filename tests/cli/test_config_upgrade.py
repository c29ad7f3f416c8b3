"""`config upgrade` (config.md §8): a later version, and else the file as it was."""

from __future__ import annotations

import itertools
import stat
from pathlib import Path

import pytest

from cli.command import run
from cli.config_files import write
from portway.config.errors import ConfigError
from portway.config.load import load, load_texts
from portway.config.plan import meaning
from portway.config.upgrade import upgrade, upgraded

DEFAULT = Path(".config") / "portway" / "portway.yml"
OLD = "version: 2\nauthtoken: t # lab\ntunnels:\n  w: {proto: http, addr: 80, domain: w.test}\n"
NEW = """\
version: 3
agent:
  authtoken: t # lab
endpoints:
  - name: w
    url: https://w.test
    upstream:
      url: 80
"""


@pytest.fixture(autouse=True)
def _empty(home: Path) -> None:
    """Every test has a home without files."""


def result(text: str, target: int = 3) -> str:
    return upgraded(text, Path("c.yml"), target).text


def report(text: str, target: int = 3) -> list[str]:
    return upgraded(text, Path("c.yml"), target).report


# === what stays

COMMENTED = """\
# ours

# of the lab
authtoken: t
version: "2" # two
# where to
log: stdout   # a pipe
# all of them
tunnels: # mine
    # the shop
    shop: # sells
        # web
        proto: http # always
        addr: 8080 # local
        # its name
        domain: shop.test   # public
        inspect: false
        traffic_policy:
            # rules
            on_http_request:
                - actions: [{type: deny}]   # none
        # nothing yet
        description:
    ssh:
        addr: 22
        proto: tcp
        remote_addr: t.test:2000
        proxy_proto: 2
        # old: 1
    # the last
    mail: {proto: tls, addr: 143, crt: a.pem, key: 'b.pem', mutual_tls_cas: c.pem, hostname: "x.test"} # secure

# the page
web_addr: false
metadata: |
    a

    b
# end
"""

UPGRADED = """\
# ours

agent:
    # of the lab
    authtoken: t
    # where to
    log: stdout   # a pipe

    # the page
    web_addr: false
    metadata: |
        a

        b
version: "3" # two
# all of them
endpoints: # mine
    # the shop
    # nothing yet
    - name: shop # sells
      # its name
      # web
      # always
      url: https://shop.test   # public
      inspect: false
      traffic_policy:
          # rules
          on_http_request:
              - actions: [{type: deny}]   # none
      upstream:
          url: 8080 # local
    - name: ssh
      url: tcp://t.test:2000
      upstream:
          url: 22
          proxy_protocol: 2
      # old: 1
    # the last
    - name: mail # secure
      url: tls://x.test
      agent_tls_termination:
          server_certificate: a.pem
          server_private_key: 'b.pem'
          mutual_tls_certificate_authorities: ["c.pem"]
      upstream:
          url: 143
# end
"""


def test_comments_move_with_what_they_are_about() -> None:
    assert result(COMMENTED) == UPGRADED


def test_line_ends_mark_and_the_end_of_the_file_stay() -> None:
    for text in (COMMENTED, OLD):
        unix = result(text)
        assert result(text.replace("\n", "\r\n")) == unix.replace("\n", "\r\n")
        assert result("\ufeff" + text) == "\ufeff" + unix
        assert result(text.removesuffix("\n")) == unix.removesuffix("\n")


def test_a_file_of_the_version_stays_byte_for_byte() -> None:
    for text in (UPGRADED, NEW, 'version: "3"\n', "version: 3", "{version: 3, agent: {log: stdout}}"):
        assert (result(text), report(text)) == (text, [])
    assert (result(OLD, 2), report(OLD, 2)) == (OLD, [])


# === what becomes of what


@pytest.mark.parametrize(
    ("tunnel", "endpoint"),
    [
        ("proto: http, addr: 80", "url: https://\n    upstream:\n      url: 80"),
        ("proto: http, addr: 80, schemes: [http]", "url: http://\n    upstream:\n      url: 80"),
        ("proto: tcp, addr: 22", "url: tcp://\n    upstream:\n      url: 22"),
        ("proto: tls, addr: h:443", "url: tls://\n    upstream:\n      url: h:443"),
        ("proto: http, addr: 80, url: w.test", "url: https://w.test\n    upstream:\n      url: 80"),
        ("proto: http, addr: 80, url: 'http://w.test'", "url: http://w.test\n    upstream:\n      url: 80"),
        ("proto: http, addr: 80, hostname: '*.w.test'", 'url: "https://*.w.test"\n    upstream:\n      url: 80'),
        ("proto: tls, addr: 80, domain: w.test", "url: tls://w.test\n    upstream:\n      url: 80"),
        ("proto: http, addr: \"80\", metadata: 'a: b', inspect: no, app_protocol: http2",
         ("url: https://\n    metadata: 'a: b'\n    inspect: no\n"
         '    upstream:\n      url: "80"\n      protocol: http2')),
        ("proto: http, addr: 'https://h', upstream_tls_verify: true, upstream_tls_verify_cas: ca.pem, bindings: []",
         ("url: https://\n    bindings: []\n    upstream:\n      url: 'https://h'\n"
         "      tls_verify: true\n      tls_verify_cas: ca.pem")),
        ("proto: http, addr: 80, policy: {inbound: []}, description: d, pooling_enabled: true",
         ("url: https://\n    traffic_policy: {inbound: []}\n    description: d\n    pooling_enabled: true\n"
         "    upstream:\n      url: 80")),
        ("proto: http, addr: 80, policy_file: p.yml",
         "url: https://\n    traffic_policy_file: p.yml\n    upstream:\n      url: 80"),
        ("proto: tls, addr: 80, crt: c, key: k, terminate_at: agent",
         ("url: tls://\n    agent_tls_termination:\n      server_certificate: c\n      server_private_key: k\n"
         "    upstream:\n      url: 80")),
        ("proto: tls, addr: 80, terminate_at: upstream", "url: tls://\n    upstream:\n      url: 80"),
        ("proto: http, addr: 80, verify_upstream_tls: true",
         "url: https://\n    upstream:\n      url: 80\n      tls_verify: true"),
    ],
)  # fmt: skip
def test_a_tunnel_with_an_equal_becomes_an_endpoint(tunnel: str, endpoint: str) -> None:
    text = f"version: 2\ntunnels:\n  w: {{{tunnel}}}\n"
    assert result(text) == f"version: 3\nendpoints:\n  - name: w\n    {endpoint}\n"
    block = text.replace("{", "\n    ", 1).replace(", ", "\n    ").removesuffix("}\n") + "\n"
    if "{" not in block:
        assert result(block) == f"version: 3\nendpoints:\n  - name: w\n    {endpoint}\n"


@pytest.mark.parametrize(
    ("tunnel", "reason"),
    [
        ("proto: http, addr: 80, oauth: {provider: x}", "oauth has no endpoint option"),
        ("proto: http, addr: 80, compression: true, host_header: x",
         "compression and host_header have no endpoint option"),
        ("proto: http, addr: 80, subdomain: x", "subdomain has no endpoint option"),
        ("proto: http, addr: 80, schemes: [http, https]", "schemes makes two endpoints of it"),
        ("proto: http, addr: 80, name: other", "name gives it a second name"),
        ("proto: http, addr: 80, mutual_tls_cas: c.pem", "mutual_tls_cas has no endpoint option"),
        ("proto: tls, addr: 80, terminate_at: edge", "terminate_at: edge has no endpoint option"),
        ("proto: tls, addr: 80, terminate_at: upstream, crt: a, key: b",
         "terminate_at: upstream leaves the certificate unused"),
        ("proto: http, addr: 80, bindings: [nowhere]", "it cannot be started: the binding 'nowhere' is not public,"),
        ("addr: 80, labels: [edge=x]", "labels has no endpoint option"),
        ("proto: tcp, addr: 1, proxy_proto: 1, upstream_proxy_protocol: 2",
         "proxy_proto and upstream_proxy_protocol are one option now"),
        ("\n    # a\n    proto: http, addr: 80 # b\n    ", "there are comments between its braces"),
    ],
)  # fmt: skip
def test_a_tunnel_without_an_equal_stays_with_the_reason(tunnel: str, reason: str) -> None:
    text = f"version: 2\ntunnels:\n  w: {{{tunnel}}}\n"
    kept = result(text)
    head, note, *rest = (
        kept.removeprefix("version: 3\ntunnels:\n").splitlines(keepends=True)[:1] + kept.splitlines(True)[3:]
    )
    assert head.startswith(f"  # kept as a tunnel: {reason}")
    assert note + "".join(rest) == text.removeprefix("version: 2\ntunnels:\n")
    assert report(text)[-1].startswith(f"tunnels.w stays a tunnel: {reason}")


def test_what_version_3_cannot_start_is_told() -> None:
    said = report("version: 2\ntunnels:\n  w: {addr: 80, labels: [edge=x]}\n")
    assert (
        said[-1]
        == "tunnels.w stays a tunnel: labels has no endpoint option; version 3 cannot start it before it has a url"
    )


def test_parts_that_are_shared_stay_where_they_are() -> None:
    text = "version: 2\ntunnels:\n  a: &a {proto: http, addr: 80}\n  b: *a\n  c:\n    <<: *a\n    addr: 81\n"
    made = result(text)
    assert made.count("# kept as a tunnel: it shares a part with another") == 3
    assert load_texts([(Path("c.yml"), made)]).tunnels["c"].options["addr"] == "81"


def test_a_file_of_braces_gets_lines() -> None:
    text = (
        '{"version": 2, "authtoken": "t", "tunnels": {"w": {"proto": "http", "addr": 80},'
        ' "x": {"proto":"http","addr":1,"compression":true}}}\n'
    )
    assert result(text) == (
        '"version": 3\nagent:\n  "authtoken": "t"\n'
        'endpoints:\n  - name: "w"\n    url: https://\n    upstream:\n      url: 80\n'
        '"tunnels":\n  # kept as a tunnel: compression has no endpoint option\n'
        '  "x": {"proto":"http","addr":1,"compression":true}\n'
    )


@pytest.mark.parametrize(
    ("text", "target", "made"),
    [
        ("", 3, 'version: "3"\n'),
        ("# none", 2, '# none\nversion: "2"\n'),
        ("agent: {log: stdout}\n", 3, 'version: "3"\nagent: {log: stdout}\n'),
        ("endpoints: []\n", 3, 'version: "3"\nendpoints: []\n'),
        ("log: stdout\n", 2, 'version: "2"\nlog: stdout\n'),
        ("log: stdout\n", 3, 'version: "3"\nagent:\n  log: stdout\n'),
        ("tunnels:\n  w: {proto: http, addr: 80}\n", 2, 'version: "2"\ntunnels:\n  w: {proto: http, addr: 80}\n'),
        ("version: 1\nupdate: true\n", 2, "version: 2\nregion: us\nupdate_check: true\n"),
        ("socks5_proxy: socks5://h:1\nregion: eu\n", 2, 'version: "2"\nproxy_url: socks5://h:1\nregion: eu\n'),
        ("update: true\n", 3, 'version: "3"\nagent:\n  update_check: true\n'),
        ("tunnels:\n  w:\n    proto: http\n    addr: 80\n    auth: a:b\n    bind_tls: false # plain\n", 2,
         ('version: "2"\nregion: us\ntunnels:\n  w:\n    proto: http\n    addr: 80\n    basic_auth: ["a:b"]\n'
         "    schemes: [http] # plain\n")),
        ("version: 2\nregion: eu # old\n# kept\nlog: stdout\n", 3,
         "version: 3\nagent:\n  # kept\n  log: stdout\n"),
    ],
)  # fmt: skip
def test_what_is_missing_is_added(text: str, target: int, made: str) -> None:
    assert result(text, target) == made


OPTIONS = ("metadata: m", "inspect: false", "compression: true", "domain: w.test", "proxy_proto: 1", "policy: {a: NO}")


@pytest.mark.parametrize("options", list(itertools.combinations(OPTIONS, 3)), ids=" ".join)
@pytest.mark.parametrize("form", ["block", "flow"])
def test_what_it_means_stays(options: tuple[str, ...], form: str) -> None:
    lines = ["proto: http", "addr: 80", *options]
    body = " {" + ", ".join(lines) + "}\n" if form == "flow" else "\n    " + "\n    ".join(lines) + "\n"
    text = f"version: 2\nserver_addr: e.test:443\ntunnels:\n  w:{body}  v: {{proto: tcp, addr: 22}}\n"
    before, after = (load_texts([(Path("c.yml"), one)]) for one in (text, result(text)))
    assert after.agent == before.agent
    said = [{entry.name: meaning(entry) for entry in config.entries} for config in (before, after)]
    assert said[0] == said[1]
    assert len(after.endpoints) == (1 if "compression: true" in options else 2)


# === what is refused


@pytest.mark.parametrize(
    ("text", "target", "told"),
    [
        ("version: 3\n", 2, "c.yml is of version 3: it cannot be taken back to version 2."),
        ("agent: {}\n", 2, "it cannot be taken back to version 2"),
        ("version: 4\n", 3, "line 1, column 10: unknown version '4'. valid versions are: [1 2 3]"),
        ("- a\n", 3, "the file is no map of keys"),
        ("version: {\n", 3, "YAML parsing error"),
        ("# x\nlog: stdout\nbogus: 1\n", 3, "line 3, column 1: unknown key bogus"),
        ("update: true\n\n\nbogus: 1\n", 2, "line 4, column 1: unknown key bogus"),
        ("http_proxy: a\nsocks5_proxy: b\n", 2, "line 2, column 1: http_proxy and socks5_proxy are one setting"),
        ("tunnels: {w: {proto: http, addr: 80, bind_tls: maybe}}\n", 2, "'maybe' is not one of true, false, both"),
        ("version: 2\nlog: &a stdout\n<<: {metadata: m}\n", 3, "it has a merge key"),
        ("version: 2\ntunnels: {w: {proto: http, addr: 80, auth: 'a:s3cr3t', basic_auth: [x]}}\n", 3, "given twice"),
    ],
)
def test_what_cannot_be_upgraded_is_told_and_stays(
    text: str, target: int, told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("c.yml").write_text(text)
    code, out, err = run(capsys, "config", "upgrade", str(target), "--config", "c.yml")
    assert (code, out) == (1, "")
    assert told in err
    assert "s3cr3t" not in err
    assert Path("c.yml").read_text() == text
    assert list(Path().iterdir()) == [Path("c.yml")], "nothing is left beside it"


def test_there_are_two_versions_to_upgrade_to(capsys: pytest.CaptureFixture[str]) -> None:
    code, _, err = run(capsys, "config", "upgrade", "4")
    assert code == 1
    assert "There is no version '4' to upgrade to: 2 and 3 are known." in err


# === the command


def test_the_result_is_shown_and_the_old_file_kept(capsys: pytest.CaptureFixture[str]) -> None:
    path = write(Path("c.yml"), OLD)
    path.chmod(0o640)
    Path("c.yml.bak").write_text("an earlier one")
    code, out, err = run(capsys, "config", "upgrade", "--config", "c.yml")
    assert (code, out) == (0, NEW)
    assert path.read_text() == NEW
    assert "tunnels.w is the endpoint w now" in err.splitlines()
    assert "the file as it was is c.yml.bak.1" in err
    assert Path("c.yml.bak.1").read_text() == OLD
    assert Path("c.yml.bak").read_text() == "an earlier one"
    assert [stat.S_IMODE(Path(name).stat().st_mode) for name in ("c.yml", "c.yml.bak.1")] == [0o640, 0o600]
    assert run(capsys, "config", "upgrade", "--config", "c.yml") == (0, NEW, "c.yml is of version 3 already\n")
    assert len(list(Path().iterdir())) == 3


def test_a_dry_run_writes_nothing(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write(home / DEFAULT, OLD)
    code, out, err = run(capsys, "config", "upgrade", "--dry-run")
    assert (code, out) == (0, NEW)
    assert "nothing was written (--dry-run)" in err
    assert [one for one in home.rglob("*") if one.is_file()] == [path]
    assert path.read_text() == OLD


def test_there_must_be_a_file(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, _, err = run(capsys, "config", "upgrade")
    path = home / DEFAULT
    told = f"ERROR:  Error reading configuration file '{path}': open {path}: no such file or directory\n"
    assert (code, err) == (1, told)


def test_a_file_can_be_moved_to_the_usual_place(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write(home / "old place" / "c.yml", OLD)
    path.chmod(0o600)
    code, out, err = run(capsys, "config", "upgrade", "--relocate", "--config", str(path))
    assert (code, out) == (0, NEW)
    moved = home / DEFAULT
    assert f"{path} is moved to {moved}" in err
    assert moved.read_text() == NEW
    assert [stat.S_IMODE(one.stat().st_mode) for one in (moved, moved.parent)] == [0o600, 0o700]
    assert [one.name for one in path.parent.iterdir()] == ["c.yml.bak"]
    assert load([moved]).agent == {"authtoken": "t"}
    assert run(capsys, "config", "upgrade", "--relocate") == (0, NEW, f"{moved} is of version 3 already\n")


def test_a_file_is_not_moved_over_another(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path, there = write(home / "c.yml", OLD), write(home / DEFAULT, "version: 3\n")
    code, out, err = run(capsys, "config", "upgrade", "--relocate", "--config", str(path))
    assert (code, out) == (1, "")
    assert f"there is a file {there} already" in err
    assert (path.read_text(), there.read_text()) == (OLD, "version: 3\n")


@pytest.mark.parametrize(
    "line", ["root_cas: beside.pem\n", "tunnels: {w: {proto: tls, addr: 1, crt: beside.pem, key: /k}}\n"]
)
def test_a_file_is_not_moved_away_from_those_it_names(
    line: str, home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write(home / "conf" / "c.yml", f"version: 2\n{line}")
    write(home / "conf" / "beside.pem", "pem")
    code, _, err = run(capsys, "config", "upgrade", "--relocate", "--config", str(path))
    assert code == 1
    assert "beside.pem would not be found from there" in err
    assert path.read_text() == f"version: 2\n{line}"


def test_another_programs_file_is_copied_never_changed(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    theirs = write(home / ".config" / "ngrok" / "ngrok.yml", OLD)
    code, _, err = run(capsys, "config", "upgrade")
    assert code == 1
    assert f"{theirs} is another program's file, which stays as it is." in err
    code, out, err = run(capsys, "config", "upgrade", "--relocate")
    assert (code, out) == (0, NEW)
    assert f"{theirs} is copied to {home / DEFAULT}" in err
    assert (home / DEFAULT).read_text() == NEW
    assert theirs.read_text() == OLD
    assert list(theirs.parent.iterdir()) == [theirs]


def test_a_link_stays_a_link(home: Path) -> None:
    real = write(home / "real.yml", OLD)
    link = home / "link.yml"
    link.symlink_to(real)
    upgrade(link, 3)
    assert link.is_symlink()
    assert real.read_text() == NEW


def test_a_file_that_would_mean_something_else_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("portway.config.upgrade.RENAMED", {"server_addr": "connect_cas"})
    with pytest.raises(ConfigError, match="it would not mean the same"):
        result("version: 2\nserver_addr: e.test:443\n")
