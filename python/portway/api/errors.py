"""Why a command of the API did not do what it was to do; the texts are for people, and hold no secret."""

from __future__ import annotations


class ApiError(Exception):
    """Of any kind."""


class UsageError(ApiError):
    """What was typed makes no sense. Nothing was sent."""


class UnreachableError(ApiError):
    """There was no answer, or none of the API's."""
