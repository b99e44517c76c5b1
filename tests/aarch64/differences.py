"""Compares what two machines found in the same pictures: two files that results.py printed.

python tests/aarch64/differences.py ONE.json OTHER.json
"""

import json
import sys
from pathlib import Path

ALLOWED = {
    "similarity": 1e-3,
    "runner_up_similarity": 1e-3,
    "score": 1e-3,
    "embedding": 1e-3,
    "box_px": 0.05,
    "landmarks_px": 0.05,
}
"""How far numbers may differ: networks add up in another order on another processor. Everything else must be equal."""


class Comparison:
    """`problems` is empty if both machines found the same."""

    def __init__(self, one, other):
        self.faces = 0
        self.largest = dict.fromkeys(ALLOWED, 0.0)
        self.problems = []
        if set(one["pictures"]) != set(other["pictures"]):
            self.problems.append(f"other pictures: {sorted(set(one['pictures']) ^ set(other['pictures']))}")
        for name in sorted(set(one["pictures"]) & set(other["pictures"])):
            self._picture(name, one["pictures"][name], other["pictures"][name])
        if not self.faces:
            self.problems.append("no face was compared")

    def _picture(self, name, one, other):
        if one["pixels"] != other["pixels"]:
            self.problems.append(f"{name}: the pixels differ, so the pictures are not the same")
        if len(one["faces"]) != len(other["faces"]):
            self.problems.append(f"{name}: {len(one['faces'])} and {len(other['faces'])} faces")
            return
        for number, (face, same) in enumerate(zip(one["faces"], other["faces"]), 1):
            self.faces += 1
            for key in sorted(set(face) | set(same)):
                self._value(f"{name}, face {number}, {key}", key, face.get(key), same.get(key))

    def _value(self, where, key, value, other):
        if key not in ALLOWED:
            if value != other:
                self.problems.append(f"{where}: {value} and {other}")
            return
        values, others = (each if isinstance(each, list) else [each] for each in (value, other))
        if len(values) != len(others) or None in values + others:
            self.problems.append(f"{where}: {len(values)} and {len(others)} numbers, or none")
            return
        difference = max(abs(first - second) for first, second in zip(values, others))
        allowed = ALLOWED[key]
        self.largest[key] = max(self.largest[key], difference)
        if not difference <= allowed:
            self.problems.append(f"{where}: they differ by {difference:.2g}, at most {allowed:.2g} is allowed")

    def text(self):
        values = ", ".join(f"{key} {value:.1e}" for key, value in self.largest.items())
        return "\n".join([f"{self.faces} faces compared, largest differences:", f"  {values}", *self.problems])


def main():
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    one, other = (json.loads(Path(path).read_text(encoding="utf-8")) for path in sys.argv[1:])
    comparison = Comparison(one, other)
    sys.stdout.write(f"{one['machine']} and {other['machine']}: {comparison.text()}\n")
    sys.exit(1 if comparison.problems else 0)


if __name__ == "__main__":
    main()
