#!/usr/bin/env python3
"""Reads the machine code of a CUDA library and holds every kernel to its bars, the rows of a table in Markdown.
bars.py LIBRARY CUOBJDUMP TABLE.md

A row: | `pattern` | registers at most | LDG.128 at least | STG.128 at least | HMMA at least |. A kernel belongs to the first row whose pattern
(* and ? as in file names) fits its name without namespaces and arguments. No kernel may touch local memory, each must belong to a row, and each row
must have a kernel. ARCHITECTURES are those that must be there. Ends with 77 where there is no cuobjdump."""
import collections
import fnmatch
import os
import re
import subprocess
import sys

ARCHITECTURES = ["sm_80", "sm_90a"]
PTX = "sm_90"  # what later devices compile for themselves

Bar = collections.namedtuple("Bar", "pattern registers loads stores hmma")


class Kernel:
    """What one architecture's code of a kernel takes and does."""

    def __init__(self, architecture, name):
        self.architecture, self.name = architecture, name
        self.registers = None
        self.stack = self.loads = self.stores = self.hmma = self.local = 0


def short(name):
    """map_kernel<8, Gelu, bf16, bf16> of a demangled name."""
    name = name.replace("(anonymous namespace)::", "").replace("lodestone::", "").replace("cuda::", "").replace("__nv_bfloat16", "bf16")
    depth = 0
    for place, letter in enumerate(name):
        depth += {"<": 1, ">": -1}.get(letter, 0)
        if letter == "(" and depth == 0:
            return name[:place].removeprefix("void ")
    return name


def run(command, **more):
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, **more).stdout


def read(library, cuobjdump):
    """The kernels by (architecture, mangled name), and the architectures whose PTX is there."""
    folder = os.path.dirname(os.path.abspath(cuobjdump))
    tools = dict(os.environ, PATH=folder + ":" + os.environ.get("PATH", ""))  # cuobjdump starts nvdisasm
    usage = run([cuobjdump, "-res-usage", library], env=tools, stderr=subprocess.STDOUT)
    code = run([cuobjdump, "-sass", library], env=tools)
    mangled = sorted(set(re.findall(r"Function (\w+):", usage)))
    names = dict(zip(mangled, map(short, run(["c++filt"], input="\n".join(mangled)).splitlines())))
    kernels, ptx = {}, re.findall(r"Fatbin ptx code:\n=+\narch = (\w+)", usage)
    architecture = kernel = None
    for line in usage.splitlines():
        if found := re.match(r"arch = (\w+)", line):
            architecture = found[1]
        elif found := re.match(r" Function (\w+):", line):
            kernel = kernels[architecture, found[1]] = Kernel(architecture, names[found[1]])
        elif found := re.match(r"  REG:(\d+) STACK:(\d+) .*LOCAL:(\d+)", line):
            kernel.registers, kernel.stack = int(found[1]), int(found[2]) + int(found[3])
    for line in code.splitlines():
        if found := re.match(r"\s*code for (\w+)", line):
            architecture = found[1]
        elif found := re.match(r"\s*Function : (\w+)", line):
            kernel = kernels[architecture, found[1]]
        elif found := re.match(r"\s*/\*[0-9a-f]{4,}\*/\s+(?:@!?U?P\w+ )?([A-Z][\w.]*)", line):
            words = found[1].split(".")
            kernel.loads += words[0] == "LDG" and "128" in words
            kernel.stores += words[0] == "STG" and "128" in words
            kernel.hmma += words[0] == "HMMA"
            kernel.local += words[0] in ("LDL", "STL")
    return list(kernels.values()), ptx


def rows_of(table):
    """The rows of the table that begin with a pattern and have four numbers."""
    with open(table, encoding="utf-8") as file:
        rows = re.findall(r"^\| `([^`]+)` \| *(\d+) \| *(\d+) \| *(\d+) \| *(\d+) \|$", file.read(), re.MULTILINE)
    return [Bar(pattern, *map(int, numbers)) for pattern, *numbers in rows]


def findings(kernels, ptx, rows):
    """A line for each bar that is missed."""
    lines = [f"there is no machine code for {a}" for a in ARCHITECTURES if all(k.architecture != a for k in kernels)]
    if PTX not in ptx:
        lines.append(f"there is no PTX for {PTX}")
    used = set()
    for kernel in kernels:
        bar = next((row for row in rows if fnmatch.fnmatchcase(kernel.name, row.pattern)), None)
        where = f"{kernel.architecture}: {kernel.name}"
        if kernel.local or kernel.stack:
            lines.append(f"{where}: local memory: {kernel.local} LDL and STL, {kernel.stack} bytes")
        if bar is None:
            lines.append(f"{where}: no row of the table fits")
            continue
        used.add(bar)
        if kernel.registers > bar.registers:
            lines.append(f"{where}: {kernel.registers} registers, at most {bar.registers}")
        for what, found, least in [("LDG.128", kernel.loads, bar.loads), ("STG.128", kernel.stores, bar.stores), ("HMMA", kernel.hmma, bar.hmma)]:
            if found < least:
                lines.append(f"{where}: {found} {what}, at least {least}")
    return lines + [f"no kernel fits the row `{row.pattern}`" for row in rows if row not in used]


def is_there(cuobjdump):
    """Whether it can be run; says that a test is skipped where not."""
    if os.access(cuobjdump, os.X_OK):
        return True
    print("skipped: machine code: the pinned cuobjdump is not there; launch/setup_cuda.sh --tests fetches it")
    return False


def main():
    library, cuobjdump, table = sys.argv[1:]
    if not is_there(cuobjdump):
        return 77
    kernels, ptx = read(library, cuobjdump)
    rows = rows_of(table)
    lines = findings(kernels, ptx, rows)
    print("\n".join(lines) or f"{len(kernels)} kernels of {' and '.join(ARCHITECTURES)} keep to the bars of {len(rows)} rows")
    return 1 if lines else 0


if __name__ == "__main__":
    sys.exit(main())
