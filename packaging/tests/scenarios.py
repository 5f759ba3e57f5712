"""Compares the judge's figures with a column of BASELINE.md: scenarios.py COLUMN BASELINE.md JUDGED.json

Exit 1 where a scenario's innocent cut, logins denied or share stopped differs from the baseline and is not known to.
"""

import json
import re
import sys

# What differs on purpose: (column, scenario) -> our figures.
KNOWN = {
    # The baseline counts as fail2ban does, whose window stretches; ours is strict and bans a moment later.
    ("5/10m/10m", "cgnat"): (3, 2868, 67),
    # A forged X-Forwarded-For is seen through here, so that one attacker more is shut out.
    ("5/1d/1h", "webmail-proxy"): (71, 83, 96),
}


def baseline(column, path):
    rows = [[cell.strip() for cell in line.strip().strip("|").split("|")]
            for line in open(path, encoding="utf-8") if line.startswith("|")]
    at = next(row for row in rows if column in row).index(column)
    figures = {}
    for row in rows:
        name = re.match(r"([\w-]+) \(", row[0])
        cell = re.fullmatch(r"(\d+) / (\d+) / (\d+)%", row[at]) if name and len(row) > at else None
        if cell:
            figures[name.group(1)] = tuple(map(int, cell.groups()))
    return figures


def main():
    column, path, judged = sys.argv[1:]
    wanted = baseline(column, path)
    wrong = 0
    for line in open(judged, encoding="utf-8"):
        day = json.loads(line)
        name = day["scenario"]
        ours = (day["innocents_cut"], day["good_denied"], round(day["stopped"] * 100))
        known = KNOWN.get((column, name), wanted.get(name))
        word = "as counting per address" if ours == wanted.get(name) else f"baseline {wanted.get(name)}"
        if ours != known:
            wrong += 1
            word += ": DIFFERS"
        print(f"{column} {name}: innocent cut {ours[0]}, logins denied {ours[1]}, stopped {ours[2]} %; {word}")
        wanted.pop(name, None)
    if wanted:
        print("not judged:", ", ".join(wanted))
    sys.exit(1 if wrong or wanted else 0)


main()
