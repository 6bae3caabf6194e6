"""Judge a report of Autobahn's fuzzing client: python tests/autobahn/verdict.py reports/index.json

`wstest` exits with 0 whatever happened, also when the server died half way. This exits with 1 when a case failed, in
its behaviour or in its closing, and with 2 when the report does not hold all cases.
"""

from __future__ import annotations

import json
import sys
from collections import Counter
from pathlib import Path

CASES = 247  # 1.* - 7.* and 10.*
GOOD = frozenset({"OK", "NON-STRICT", "INFORMATIONAL"})
ASPECTS = ("behavior", "behaviorClose")


def main(path: Path) -> int:
    if not path.exists():
        print(f"{path} does not exist: was the server up?")
        return 2
    (cases,) = json.loads(path.read_text()).values()
    for aspect in ASPECTS:
        print(aspect, dict(Counter(case[aspect] for case in cases.values())))
    remarkable = {name: case for name, case in cases.items() if any(case[aspect] != "OK" for aspect in ASPECTS)}
    for name, case in remarkable.items():
        print(" ", name, *(case[aspect] for aspect in ASPECTS))
    if len(cases) != CASES:
        print(f"{len(cases)} of {CASES} cases ran")
        return 2
    return int(any(case[aspect] not in GOOD for case in cases.values() for aspect in ASPECTS))


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
