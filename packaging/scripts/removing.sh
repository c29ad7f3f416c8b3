#!/bin/sh
# Before removal: deb says `remove` or `upgrade`, rpm how many versions will be left, the others nothing. An upgrade of rpm
# comes here when the new version has already been compiled.
set -e
case "${1-}" in
  remove | 0 | "")
    if [ -d /run/systemd/system ]; then systemctl --no-reload disable --now portway-edge.service || true; fi
    ;;
esac
case "${1-}" in
  1) ;;
  *) find /usr/lib/portway -name __pycache__ -type d -prune -exec rm -rf {} + ;;
esac
