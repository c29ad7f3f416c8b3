"""`portway config …`: reads and changes the configuration file. What a file may say is `portway.config`'s business."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from portway.cli.options import Given, command
from portway.cli.report import Failure, failed, notice

Value = Annotated[str, typer.Argument(metavar="VALUE", show_default=False)]
