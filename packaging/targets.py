"""What wheels are built for. Everything else here is made from wheels."""

from __future__ import annotations

from typing import NamedTuple


class Target(NamedTuple):
    rust: str
    """The target as Rust calls it."""
    compatibility: str
    """The oldest system it runs on, as wheels are named."""
    go: str
    """The architecture as nfpm calls it, which knows the names of every package manager."""
    without: str = ""
    """Why it cannot be built, where it never can."""

    @property
    def libc(self) -> str:
        return "musl" if self.compatibility.startswith("musl") else "gnu"

    @property
    def name(self) -> str:
        return f"{self.rust.partition('-')[0]}-{self.libc}"


GLIBC, MUSL = "manylinux_2_28", "musllinux_1_2"

TARGETS = (
    Target("x86_64-unknown-linux-gnu", GLIBC, "amd64"),
    Target("aarch64-unknown-linux-gnu", GLIBC, "arm64"),
    Target("armv7-unknown-linux-gnueabihf", "manylinux_2_31", "arm7"),
    Target("i686-unknown-linux-gnu", GLIBC, "386"),
    Target("powerpc64le-unknown-linux-gnu", GLIBC, "ppc64le"),
    Target("s390x-unknown-linux-gnu", GLIBC, "s390x"),
    Target("riscv64gc-unknown-linux-gnu", "manylinux_2_31", "riscv64"),
    Target("x86_64-unknown-linux-musl", MUSL, "amd64"),
    Target("aarch64-unknown-linux-musl", MUSL, "arm64"),
    Target("armv7-unknown-linux-musleabihf", MUSL, "arm7"),
    Target("i686-unknown-linux-musl", MUSL, "386"),
    Target("powerpc64le-unknown-linux-musl", MUSL, "ppc64le"),
    Target("s390x-unknown-linux-musl", MUSL, "s390x", without="Rust has no standard library for it"),
    Target("riscv64gc-unknown-linux-musl", MUSL, "riscv64"),
)
