"""The conformance scenarios, from Python: `python -m conformance SCENARIOS ROWS.json` in the folder
above. The format is described in `tests/conformance/README.md` of the repository."""
