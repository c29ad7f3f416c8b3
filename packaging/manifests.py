"""What Homebrew, winget and Scoop read to install a release: address and hash of files that are in the folder.

Each needs files that only their own systems build; without them nothing is written, and why is told.
"""

from __future__ import annotations

import hashlib
import json
import re
import sys
from collections.abc import Callable
from pathlib import Path

from result import ROOT, Left, run

DESCRIPTION = "Self-hosted tunnels that speak the public ngrok agent protocol"
PYTHON = "3.13"


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def one(out: Path, pattern: str, what: str) -> Path:
    """Raises `Left` where the folder has none."""
    found = sorted(out.glob(pattern))
    if not found:
        raise Left(f"{out.name}/ has no {what} ({pattern})")
    return found[-1]


def homebrew(out: Path, version: str, url: str) -> list[Path]:
    """A formula: the universal wheel for macOS, those of Linux, and what they need, in an environment of its own."""
    mac = one(out, f"portway-{version}-*macosx*.whl", "wheel for macOS")
    linux = {arch: sorted(out.glob(f"portway-{version}-*manylinux*_{arch}.whl")) for arch in ("x86_64", "aarch64")}
    called = {"x86_64": "on_intel", "aarch64": "on_arm"}
    on_linux = "".join(
        f"  on_linux do\n    {called[arch]} do\n{_file(found[-1], url, 6)}    end\n  end\n\n"
        for arch, found in linux.items()
        if found
    )
    resources = "".join(
        f'  resource "{name}" do\n    url "{address}"\n    sha256 "{sha256}"\n  end\n\n'
        for name, address, sha256 in needed()
    )
    text = (
        "class Portway < Formula\n  include Language::Python::Virtualenv\n\n"
        f'  desc "{DESCRIPTION}"\n  homepage "{url}"\n  version "{version}"\n  license "Apache-2.0"\n\n'
        f"  on_macos do\n{_file(mac, url, 4)}  end\n\n{on_linux}"
        f'  depends_on "python@{PYTHON}"\n\n{resources}'
        "  def install\n"
        f'    venv = virtualenv_create(libexec, "python{PYTHON}")\n'
        "    resources.each { |resource| venv.pip_install resource.cached_download, build_isolation: false }\n"
        '    wheel = Dir["*.whl"].first\n'
        "    venv.pip_install_and_link Pathname.pwd/wheel, build_isolation: false\n"
        '    man1.install Dir[libexec/"share/man/man1/*.1"]\n'
        '    generate_completions_from_executable(bin/"portway", "completion")\n'
        "  end\n\n"
        '  service do\n    run [opt_bin/"portway", "start", "--all"]\n    keep_alive true\n  end\n\n'
        '  test do\n    assert_match version.to_s, shell_output("#{bin}/portway version")\n  end\nend\n'
    )
    path = out / "portway.rb"
    path.write_text(text)
    return [path]


def _file(path: Path, url: str, indent: int) -> str:
    blank = " " * indent
    return f'{blank}url "{url}/{path.name}", using: :nounzip\n{blank}sha256 "{digest(path)}"\n'


def needed() -> list[tuple[str, str, str]]:
    """Name, address and SHA-256 of the packages of requirements.txt, of Python alone or for macOS, by pip."""
    wanted = ROOT / "packaging" / "requirements.txt"
    flags = ("--quiet", "--dry-run", "--ignore-installed", "--no-deps", "--report", "-", "--disable-pip-version-check")
    told = json.loads(
        run(sys.executable, "-m", "pip", "install", *flags, "--no-binary=PyYAML", "--requirement", str(wanted))
    )
    return [
        (
            each["metadata"]["name"],
            each["download_info"]["url"],
            each["download_info"]["archive_info"]["hashes"]["sha256"],
        )
        for each in told["install"]
    ]


def scoop(out: Path, version: str, url: str) -> list[Path]:
    """A bucket's entry; `portway.exe` of the archive is put on the path."""
    parts = {"64bit": "amd64", "arm64": "arm64"}
    found = {name: sorted(out.glob(f"portway-{version}-windows-{arch}.zip")) for name, arch in parts.items()}
    architectures = {
        name: {"url": f"{url}/{paths[-1].name}", "hash": digest(paths[-1])} for name, paths in found.items() if paths
    }
    if not architectures:
        raise Left(f"{out.name}/ has no archive for Windows (portway-{version}-windows-*.zip)")
    told = {
        "version": version,
        "description": DESCRIPTION,
        "homepage": url,
        "license": "Apache-2.0",
        "architecture": architectures,
        "bin": "portway.exe",
        "checkver": {"url": f"{url}/stable.json", "jsonpath": "$.version"},
    }
    path = out / "portway.json"
    path.write_text(json.dumps(told, indent=4) + "\n")
    return [path]


def winget(out: Path, version: str, url: str) -> list[Path]:
    """The three files of a version in winget's repository."""
    archives = {
        arch: sorted(out.glob(f"portway-{version}-windows-{name}.zip"))
        for arch, name in (("x64", "amd64"), ("arm64", "arm64"))
    }
    installers = "".join(
        f"- Architecture: {arch}\n  InstallerUrl: {url}/{paths[-1].name}\n"
        f"  InstallerSha256: {digest(paths[-1]).upper()}\n"
        for arch, paths in archives.items()
        if paths
    )
    if not installers:
        raise Left(f"{out.name}/ has no archive for Windows (portway-{version}-windows-*.zip)")
    head = f"PackageIdentifier: Portway.Portway\nPackageVersion: {version}\n"
    kinds = {
        "installer": "InstallerType: zip\nNestedInstallerType: portable\nNestedInstallerFiles:\n"
        "- RelativeFilePath: portway.exe\n  PortableCommandAlias: portway\n"
        # It looks for Python beside itself; by a link, which is what winget makes otherwise, it would not find it.
        "ArchiveBinariesDependOnPath: true\n"
        f"Installers:\n{installers}ManifestType: installer\n",
        "locale.en-US": "PackageLocale: en-US\nPublisher: portway\nPackageName: portway\nLicense: Apache-2.0\n"
        f"PackageUrl: {url}\nShortDescription: {DESCRIPTION}\nManifestType: defaultLocale\n",
        "": "DefaultLocale: en-US\nManifestType: version\n",
    }
    made = []
    for kind, body in kinds.items():
        path = out / "winget" / f"Portway.Portway{'.' if kind else ''}{kind}.yaml"
        path.parent.mkdir(exist_ok=True)
        path.write_text(f"{head}{body}ManifestVersion: 1.9.0\n")
        made.append(path)
    return made


KINDS: dict[str, Callable[[Path, str, str], list[Path]]] = {"homebrew": homebrew, "scoop": scoop, "winget": winget}


def version() -> str:
    found = re.search(r'^version = "(.*)"', (ROOT / "Cargo.toml").read_text(), re.MULTILINE)
    assert found
    return found[1]
