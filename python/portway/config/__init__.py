"""Configuration files of agent and edge: found, read, checked, merged, edited (shared spec config.md).

- `files`: where they are. `document`: YAML with positions. `values`: what a scalar may say.
- `schema`, `load`: what keys mean, in versions 2 and 3. `model`: the result.
- `upstream`, `endpoint_url`: addresses. `options`, `plan`: what an endpoint becomes in the plan.
- `environment`: what overrides files. `edit`, `join`: commands that write. `edge_file`: edge.yml.
"""
