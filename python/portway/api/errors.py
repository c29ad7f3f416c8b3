"""Why a command of the API did not do what it was to do; the texts are for people, and hold no secret."""

from __future__ import annotations

from collections.abc import Iterable

SHORTEST_SECRET = 4
"""What is shorter is a part of other words."""


class ApiError(Exception):
    """Of any kind."""


class UsageError(ApiError):
    """What was typed makes no sense. Nothing was sent."""


class UnreachableError(ApiError):
    """There was no answer, or none of the API's."""


def hidden(text: str, secrets: Iterable[str]) -> str:
    """A text without what nobody is to read: others quote what they do not like."""
    for secret in sorted(secrets, key=len, reverse=True):
        if len(secret) >= SHORTEST_SECRET:
            text = text.replace(secret, "***")
    return text
