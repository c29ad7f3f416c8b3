"""The API as users of pyngrok ask it: `api.py NGROK CONFIG KEY`. Says on stdout, as JSON, what it was told."""

from __future__ import annotations

import json
import sys

from pyngrok import ngrok  # type: ignore[import-not-found]
from pyngrok.conf import PyngrokConfig  # type: ignore[import-not-found]
from pyngrok.exception import PyngrokNgrokError  # type: ignore[import-not-found]

path, config, key = sys.argv[1:]
settings = PyngrokConfig(ngrok_path=path, config_path=config, api_key=key)
told: dict[str, object] = {}

listed = ngrok.api("endpoints", "list", "--limit", "5", pyngrok_config=settings)
told["listed"] = [listed.status, sorted(listed.data)]
made = ngrok.api("reserved-domains", "create", "--domain", "a.example.com", pyngrok_config=settings)
told["made"] = [made.status, made.data["domain"]]
gone = ngrok.api("reserved-domains", "delete", "rd_2bXn5QyRk1VdLw8sZt4UaGc7Hm3", pyngrok_config=settings)
told["gone"] = [gone.status, gone.data]
try:
    ngrok.api("reserved-domains", "create", "--domain", "taken.example.com", pyngrok_config=settings)
except PyngrokNgrokError as error:
    told["refused"] = str(error)
told["help"] = "Usage:" in ngrok.api("--help", pyngrok_config=settings).status
print(json.dumps(told))
