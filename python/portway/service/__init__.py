"""portway as a service of the operating system: what is written for it, and how it is told to start and stop.

- `kinds`: what a service is, and which manager this machine has.
- `systemd`, `launchd`, `windows`: one manager each. `windows_host` is the process that Windows starts.
- `paths`: what a configuration needs of the file system.
"""
