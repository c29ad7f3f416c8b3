"""What wins over files: flags, then variables; and what another program's file may not do (config.md §1, §2)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from portway.config import values
from portway.config.errors import ConfigError
from portway.config.model import Config

# Setting, and the variables that set it, the first one winning.
VARIABLES = {
    "authtoken": ("PORTWAY_AUTHTOKEN", "NGROK_AUTHTOKEN"),
    "api_key": ("PORTWAY_API_KEY", "NGROK_API_KEY"),
    "api_url": ("PORTWAY_API_URL",),
    "connect_url": ("PORTWAY_CONNECT_URL",),
    "connect_cas": ("PORTWAY_CONNECT_CAS",),
}


def apply(config: Config, env: Mapping[str, str], flags: Mapping[str, Any], *, fallback: bool = False) -> list[str]:
    """Completes the settings of `config`; gives warnings. `fallback`: the file is another program's.

    Raises `ConfigError` for an address that is none.
    """
    own: dict[str, Any] = {}
    for key, names in VARIABLES.items():
        found = next((env[name] for name in names if env.get(name)), None)
        if found is not None:
            own[key] = found
    own |= {key: value for key, value in flags.items() if value is not None}
    if isinstance(own.get("connect_url"), str):
        try:
            own["connect_url"] = [values.connect_url(part) for part in own["connect_url"].split(",")]
        except ValueError as error:
            raise ConfigError(f"connect URL: {error}") from None
    warnings = []
    has_edge = "connect_url" in own or "connect_url" in config.agent
    if fallback and not has_edge:
        for key in ("authtoken", "api_key"):
            if key in config.agent and key not in own:
                del config.agent[key]
                source = f"the {key} in {config.read[0]} was not used"
                warnings.append(f"{source}: it belongs to another service, and no connect_url is set")
    config.agent |= own
    return warnings
