"""Rows of the table over lanes: JSON of `{name: points}` comes in, `{name: [[value, partials]]}` goes out."""

import json
import sys

from evidence.backends import by_size, lanes
from fastgrad.operations import BY_NAME, REDUCTIONS

rows = BY_NAME | {row.name: row for row in REDUCTIONS}
work = json.load(sys.stdin)
json.dump(
    {name: by_size(rows[name], list(map(tuple, points)), lanes) for name, points in work.items()}, sys.stdout
)
