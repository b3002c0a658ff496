"""docs/limits.md names every constant of core/limits.hpp with its value, and no other."""
import re

import tree

PAGE = "docs/limits.md"
CONSTANT = re.compile(r"inline constexpr (?:auto|std::\w+|int|\w+) (k\w+)\s*=\s*([^;]+);")
ROW = re.compile(r"^\| `(k\w+)` \| ([^|]+) \|", re.M)


def in_words(name, expression):
    """64 * 1024 -> "64 KiB", 10s -> "10 s", 85 -> "85" ("85 %" for a share)."""
    time = re.fullmatch(r"(\d[\d']*)(ms|s|min|h)", expression)
    if time:
        return f"{time.group(1)} {time.group(2)}"
    number = 1
    for factor in expression.split("*"):
        number *= int(factor.strip().replace("'", ""))
    if "Share" in name:
        return f"{number} %"
    if "Bytes" in name and number >= 1024:
        for unit, size in (("MiB", 1024 * 1024), ("KiB", 1024)):
            if number % size == 0:
                return f"{number // size} {unit}"
    return str(number)


def main():
    said = dict(ROW.findall(tree.text(PAGE)))
    code = re.sub(r"//[^\n]*", "", tree.text("core/limits.hpp"))
    have = {name: in_words(name, value.strip()) for name, value in CONSTANT.findall(code)}
    problems = [f"{PAGE}: lacks {name} ({value})" for name, value in have.items() if name not in said]
    problems += [f"{PAGE}: {name} is {have[name]}, not {value.strip()}"
                 for name, value in said.items() if name in have and have[name] != value.strip()]
    problems += [f"{PAGE}: {name} is not in core/limits.hpp" for name in said if name not in have]
    if not have:
        problems.append("core/limits.hpp: no constants found")
    tree.finish(problems, f"{len(have)} limits")


if __name__ == "__main__":
    main()
