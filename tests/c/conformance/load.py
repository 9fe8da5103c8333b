"""Prints the scenario files as one JSON list: the name of each and what it holds.

The keys of the JSON library in C hold no NUL: there it is written as its symbol.
"""

import json
import pathlib
import sys
import tomllib


def keyed(value):
    if isinstance(value, dict):
        return {key.replace("\0", "\u2400"): keyed(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [keyed(inner) for inner in value]
    return value


files = sorted(pathlib.Path(sys.argv[1]).glob("*.toml"))
json.dump([[file.stem, keyed(tomllib.loads(file.read_text()))] for file in files], sys.stdout)
