"""Texts that an endpoint names instead of having them: files, and policies behind URLs."""

from __future__ import annotations

import http.client
import urllib.request
from pathlib import Path

from portway.config.values import check_no_user

POLICY_TIMEOUT = 10  # seconds
LARGEST = 1 << 20


class Sources:
    """Files are looked for in the working directory, else in `folder`, that of the configuration."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def place(self, path: str) -> Path:
        wanted = Path(path).expanduser()
        if not wanted.is_absolute() and not wanted.exists() and (self.folder / wanted).exists():
            wanted = self.folder / wanted
        return wanted

    def file(self, path: str) -> str:
        """Raises `OSError`, or `ValueError` for what is no text."""
        wanted = self.place(path)
        try:
            # It may be a pipe, as shells make them, and it may be something that never ends.
            with wanted.open(encoding="utf-8") as file:
                text = file.read(LARGEST + 1)
            if len(text) > LARGEST:
                raise ValueError(f"{wanted}: this is too large")
            return text
        except UnicodeDecodeError:
            raise ValueError(f"{wanted}: this is no text file") from None

    def pem(self, text: str) -> dict[str, str | None]:
        """PEM as the plan has it: the text, and the file of a text that is only named. Raises as `file` does."""
        if "-----BEGIN" in text:
            return {"text": text, "file": None}
        return {"text": self.file(text), "file": str(self.place(text).absolute())}

    def policy(self, url: str) -> str:
        """Raises `ValueError` for what cannot be fetched."""
        if not url.startswith(("https://", "http://")):
            raise ValueError(f"traffic_policy_url: {url!r} is no http or https URL")
        try:
            check_no_user(url)
        except ValueError as error:
            raise ValueError(f"traffic_policy_url: {error}") from None
        try:
            with urllib.request.urlopen(url, timeout=POLICY_TIMEOUT) as response:  # noqa: S310 - checked above
                content: bytes = response.read(LARGEST + 1)
        except (OSError, http.client.HTTPException) as error:
            raise ValueError(f"traffic_policy_url: cannot fetch {url}: {getattr(error, 'reason', error)}") from None
        if len(content) > LARGEST:
            raise ValueError(f"traffic_policy_url: {url} is too large")
        try:
            return content.decode()
        except UnicodeDecodeError:
            raise ValueError(f"traffic_policy_url: {url} is no text") from None


class Names(Sources):
    """The names instead of the texts: for comparing what two configurations mean."""

    def file(self, path: str) -> str:
        return f"the file {path}"

    def place(self, path: str) -> Path:
        return Path(path)

    def policy(self, url: str) -> str:
        return f"the policy of {url}"
