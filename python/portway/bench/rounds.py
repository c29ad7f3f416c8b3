"""Goes through all measurements, round by round, so that what changes on the machine meanwhile hits all alike."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from portway.bench import BenchError, sample
from portway.bench.generator import Event, Interrupted, measure, probe
from portway.bench.measures import MEASURES, figures
from portway.bench.progress import Progress
from portway.bench.result import Result
from portway.bench.target import Target

# All measurements together, where nobody says how long one is to be.
ALTOGETHER_SECS = 20.0
WARM_UP = 0.15
"""Of the time that counts."""


@dataclass(frozen=True)
class Settings:
    rounds: int = 5
    secs: float | None = None
    connections: int = 64
    streams: int = 1
    rate: float | None = None
    only: tuple[str, ...] = ()
    download: str | None = None
    upload: str | None = None


@dataclass(frozen=True)
class Run:
    target: Target
    settings: Settings
    pids: Mapping[str, int]
    local: bool
    progress: Progress

    def run(self) -> Result:
        """All of it. Ends early, with what there is, at Ctrl-C and where the endpoint does not answer any more."""
        names, notes = self._possible(self._probed())
        rounds = self.settings.rounds
        secs = self.settings.secs or ALTOGETHER_SECS / (len(names) * rounds)
        result = Result(self.target.url, self.local, self._told(names, secs), notes=notes)
        steps = [(number, name) for number in range(rounds) for name in (names if number % 2 == 0 else names[::-1])]
        try:
            for done, (number, name) in enumerate(steps):
                self.progress.step(done / len(steps), 1 / len(steps), number + 1, rounds, name, secs)
                event = self._measure(result, name, secs)
                if event["gave_up"]:
                    why = ", ".join(event["failures"]) or "nothing came back"
                    result.broken = f"{self.target.url} stopped answering in round {number + 1} ({name}): {why}"
                    break
        except KeyboardInterrupt:
            result.cut = True
        finally:
            self.progress.clear()
        return result

    def _measure(self, result: Result, name: str, secs: float) -> Event:
        cpu: float | None = None

        def see(event: Event) -> None:
            nonlocal cpu
            if event["event"] == "began":
                cpu = sample.cpu_secs(self.pids.values())
            self.progress.see(event)

        try:
            event = measure(self._plan(name, secs), see)
        except Interrupted as interrupted:
            # Half a measurement is one; less would only add noise.
            if interrupted.done and interrupted.done["secs"] >= secs / 2:
                self._keep(result, name, interrupted.done, cpu)
            raise KeyboardInterrupt from None
        # Failures at its end: of one that died half-way, half a measurement would be wrong, not just short.
        if event["failing"] and not event["gave_up"]:
            event["gave_up"] = "failure" in probe(self.target.plan())
        if not event["gave_up"]:
            self._keep(result, name, event, cpu)
        return event

    def _keep(self, result: Result, name: str, event: Event, cpu_before: float | None) -> None:
        cpu = sample.cpu_secs(self.pids.values())
        used = cpu - cpu_before if cpu is not None and cpu_before is not None else None
        result.add(figures(name, event, used))
        result.requests[name] = result.requests.get(name, 0) + event["requests"]
        for why, count in event["failures"].items():
            of_measure = result.failures.setdefault(name, {})
            of_measure[why] = of_measure.get(why, 0) + count
        if event["curve_us"]:
            curve = [(percentile, micros / 1000) for percentile, micros in event["curve_us"]]
            result.curves.setdefault(name, []).append(curve)
        memory = {role: mb for role, pid in self.pids.items() if (mb := sample.rss_mb(pid)) is not None}
        for role, mb in memory.items():
            result.memory_mb[role] = max(mb, result.memory_mb.get(role, 0.0))
        if memory and name == "rps":
            result.add({"memory": sum(memory.values())})

    def _probed(self) -> bool:
        """Whether our own upstream answers."""
        event = probe(self.target.plan())
        failure, url = event.get("failure"), self.target.url
        if failure is None:
            return bool(event["ours"])
        host = f"{self.target.host}:{self.target.port}"
        said = {
            "name": f"{self.target.host} cannot be found\nIs the name spelled right?",
            "refused": f"{host} refuses connections\nIs anything listening there?",
            "late": f"{host} does not answer\nIs a firewall in the way?",
            "no_tls": f"{host} does not speak TLS: {event['text'].removeprefix('no TLS: ')}\nIs it an http:// URL?",
            "untrusted": f"the certificate of {host} is not trusted: "
            f"{event['text'].removeprefix('certificate not trusted: ')}\nName its CA with `--ca FILE`.",
            "lost": f"{url} closed the connection without an answer",
            "status": f"{url} answers with status {event.get('status')}\nName a path that answers a plain GET.",
        }
        raise BenchError(said.get(failure, f"cannot measure {url}: {event['text']}"))

    def _possible(self, ours: bool) -> tuple[list[str], list[str]]:
        """What can be measured here, and what is told about the rest."""
        needs = {
            "down": ours or self.settings.download,
            "loaded": ours or self.settings.download,
            "up": ours or self.settings.upload,
        }
        wanted = self.settings.only or tuple(MEASURES)
        names = [name for name in MEASURES if name in wanted and needs.get(name, True)]
        left = [name for name in MEASURES if name in wanted and name not in names]
        how = "tunnel to `portway bench --serve PORT`, or name paths with --download and --upload"
        if not names:
            raise BenchError(f"{', '.join(left)}: nothing to fetch there, or to send to\nFor bulk, {how}.")
        return names, [f"not measured: {', '.join(left)}. For bulk, {how}."] if left else []

    def _told(self, names: list[str], secs: float) -> dict[str, Any]:
        given = self.settings
        told = {"rounds": given.rounds, "secs": round(secs, 3), "connections": given.connections}
        return {**told, "streams": given.streams, "rate": given.rate, "measures": names}

    def _plan(self, name: str, secs: float) -> dict[str, Any]:
        given = self.settings
        connections = {"latency": 1, "rps": given.connections, "connections": min(given.connections, 16)}
        plan: dict[str, Any] = {
            "target": self.target.plan(),
            "kind": MEASURES[name].kind,
            "secs": secs,
            "warm_up_secs": secs * WARM_UP,
            "connections": connections.get(name, given.streams),
        }
        if name == "rps" and given.rate:
            plan["rate"] = given.rate
        path = given.upload if name == "up" else given.download
        return plan | ({"bulk_path": path} if path and name in ("up", "down", "loaded") else {})
