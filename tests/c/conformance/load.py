"""Prints the scenario files and what they run against as one JSON object: of each file its name and
what it holds; of each target what targets.toml says, with the server's address in its URL; and the
table of session keys. A target whose server is not running is left out.

The keys of the JSON library in C hold no NUL: there it is written as its symbol.
"""

import json
import os
import pathlib
import sys
import tomllib


def keyed(value):
    if isinstance(value, dict):
        return {key.replace("\0", "\u2400"): keyed(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [keyed(inner) for inner in value]
    return value


folder = pathlib.Path(sys.argv[1])
files = sorted(folder.glob("*.toml"))
targets = tomllib.loads((folder.parent / "targets.toml").read_text())["target"]
running = [target for target in targets if target.get("server", "PATH") in os.environ]
for target in running:
    if "server" in target:
        target["url"] = target["url"].replace("{address}", os.environ[target["server"]])
loaded = {
    "files": [[file.stem, keyed(tomllib.loads(file.read_text()))] for file in files],
    "targets": running,
    "session_keys": json.loads((folder.parent / "session_keys.json").read_text()),
}
json.dump(loaded, sys.stdout)
