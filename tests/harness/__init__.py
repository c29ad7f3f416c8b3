"""Real processes for black-box tests: edges, agents, upstreams, SDKs, visitors.

Everything listens on loopback, on port 0 where it can; everything is waited for by its own log line;
every log is shown when the test fails (see `conftest.py`).
"""
