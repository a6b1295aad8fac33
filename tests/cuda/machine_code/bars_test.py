#!/usr/bin/env python3
"""Whether bars.py notices what it is there for: it reads the machine code of broken_kernels.cu.  bars_test.py OBJECT CUOBJDUMP"""
import os
import re
import sys
import tempfile

import bars

TABLE = """
| kernel | registers | LDG.128 | STG.128 | HMMA |
|---|---|---|---|---|
| `sound` | 16 | 1 | 1 | 0 |
| `narr*` | 4 | 1 | 1 | 1 |
| `spilling` | 32 | 0 | 0 | 0 |
| `nobody` | 32 | 0 | 0 | 0 |
"""
EXPECTED = [
    "there is no PTX for sm_90",
    "no kernel fits the row `nobody`",
] + [f"{architecture}: {line}" for architecture in bars.ARCHITECTURES for line in [
    "narrow: N registers, at most 4",
    "narrow: 0 LDG.128, at least 1",
    "narrow: 0 STG.128, at least 1",
    "narrow: 0 HMMA, at least 1",
    "spilling: local memory: N LDL and STL, N bytes",
    "unknown: no row of the table fits",
]]


def main():
    library, cuobjdump = sys.argv[1:]
    if not bars.is_there(cuobjdump):
        return 77
    with tempfile.NamedTemporaryFile("w", suffix=".md") as table:
        table.write(TABLE)
        table.flush()
        lines = bars.findings(*bars.read(library, cuobjdump), bars.rows_of(table.name))
    found = [re.sub(r"[1-9]\d* (registers|LDL|bytes)", r"N \1", line) for line in lines]
    missed, unexpected = [x for x in EXPECTED if x not in found], [x for x in found if x not in EXPECTED]
    for line in missed:
        print("missed:", line)
    for line in unexpected:
        print("found for nothing:", line)
    print(f"{len(EXPECTED) - len(missed)} of {len(EXPECTED)} faults were found")
    return 1 if missed or unexpected else 0


if __name__ == "__main__":
    sys.exit(main())
