"""docs/faults.md has one row for every Fault, saying what core/fault.cpp says.
  faults.py           checks
  faults.py --write   writes the table anew"""
import re
import sys

import tree

PAGE = "docs/faults.md"
BEGIN = "| Token | Status | Code | Whose | What to do |"
STRING = re.compile(r'"((?:[^"\\]|\\.)*)"')
# "token", "code", status, Origin, "hint in" "one or more pieces"
ROW = re.compile(r'case Fault::(\w+):\s*return \{"([^"]*)",\s*"([^"]*)",\s*(\d+),\s*(\w+),\s*'
                 r'((?:"(?:[^"\\]|\\.)*"\s*)+)\};')


def table():
    """The rows as the code has them, in the enum's order."""
    enum = re.search(r"enum class Fault[^{]*\{(.*?)\};", tree.text("core/fault.hpp"), re.S).group(1)
    names = re.findall(r"^\s*(\w+),", enum, re.M)
    rows = {}
    for name, token, code, status, origin, pieces in ROW.findall(tree.text("core/fault.cpp")):
        hint = "".join(STRING.findall(pieces)).replace("<", "&lt;")
        status = "-" if status == "0" else status
        rows[name] = f"| `{token}` | {status} | {code or '-'} | {origin.lower()} | {hint} |"
    missing = [name for name in names if name not in rows]
    return [rows[name] for name in names if name in rows and name != "None"], missing


def main():
    rows, missing = table()
    problems = [f"core/fault.cpp: no row for Fault::{name}" for name in missing]
    lines = tree.text(PAGE).split("\n")
    start = lines.index(BEGIN) + 2
    end = start
    while end < len(lines) and lines[end].startswith("|"):
        end += 1
    if "--write" in sys.argv:
        lines[start:end] = rows
        (tree.ROOT / PAGE).write_text("\n".join(lines))
    elif lines[start:end] != rows:
        wrong = [row for row in rows if row not in lines[start:end]]
        extra = [row for row in lines[start:end] if row not in rows]
        problems += [f"{PAGE}: lacks {row}" for row in wrong]
        problems += [f"{PAGE}: no such fault: {row}" for row in extra]
        problems.append("mend with: tests/rules/faults.py --write")
    tree.finish(problems, f"{len(rows)} faults")


if __name__ == "__main__":
    main()
