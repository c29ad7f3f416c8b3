#!/bin/sh
# After installation or an upgrade, of any package manager.
set -e
if command -v systemd-sysusers >/dev/null && [ -d /run/systemd/system ]; then
  systemd-sysusers portway.conf
  systemctl daemon-reload
elif ! grep -q '^portway:' /etc/passwd; then
  useradd --system --home-dir /var/lib/portway --shell /usr/sbin/nologin portway 2>/dev/null ||
    adduser -S -H -D -h /var/lib/portway -s /sbin/nologin portway 2>/dev/null || true
fi
# Who runs it may not write there, so its code is compiled now.
for python in /usr/bin/python3 /usr/bin/python3.[1-9][0-9]; do
  if [ -x "$python" ] && "$python" -c 'import sys; sys.exit(sys.version_info < (3, 10))'; then
    "$python" -m compileall -q /usr/lib/portway >/dev/null || true
    break
  fi
done
