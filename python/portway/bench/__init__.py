"""`portway bench`: how fast is a tunnel, and did a change help.

`target` and `measures` say what is measured, `generator` runs one measurement in a process of its own (Rust,
`rust/load`), `local` makes a tunnel to measure, `rounds` goes through all of it, `result` is what comes out and how it
is kept, `stats` and `compare` judge, `table`, `page` and `progress` show. Nothing in here knows the command line.
"""


class BenchError(Exception):
    """Why there is nothing to measure, or no result to read; a text for the user."""
