"""Makes docs/reference/errors.md from the error table of rust/wire. A test holds the two together.

usage: python docs/reference/errors.py
"""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
TABLE = ROOT / "rust" / "wire" / "src" / "codes" / "table.rs"
PAGE = Path(__file__).with_suffix(".md")

HEAD = """# Error codes

Made from `rust/wire/src/codes/table.rs` by `docs/reference/errors.py`.

The numbers are those that existing agents, SDKs and scripts look for; the words are ours. What is told in a particular
case says more: which name, which upstream, which reason. Visitors find the code in the header `ngrok-error-code` and on
the page, agents in the last line of an error. A code with a status is one that visitors may see.

| code | status | |
|---|---|---|
"""


def page() -> str:
    rows = re.findall(r'\((\d+), (\d+), "((?:[^"\\]|\\.)*)"\),', TABLE.read_text())
    return HEAD + "".join(
        f"| `ERR_NGROK_{code}` | {'' if status == '0' else status} | {text} |\n" for code, status, text in rows
    )


if __name__ == "__main__":
    PAGE.write_text(page())
