"""Why is there no connection? Every step of the way to the edge by itself (agent-behaviour.md §12).

- `probe`: the steps, done by the core that an agent connects with; a fact each.
- `judge`: what the facts mean: sections, lines with a grade, issues.
- `screen`: the same for people. `report`: for whoever is asked for help, without secrets.
"""
