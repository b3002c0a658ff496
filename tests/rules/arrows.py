"""Every #include "folder/file.hpp" follows an arrow of the table in CMakeLists.txt."""
import re

import tree

INCLUDE = re.compile(r'^\s*#\s*include\s+"([^"]+)"', re.M)
NEVER_IN_PRODUCT = {"tests", "bench"}


def arrows(cmake_text):
    """folder -> the folders it may include: the rooster_folder() lines' USES."""
    table = {}
    for call in re.findall(r"^rooster_folder\(([^)]*)\)", cmake_text, re.M):
        words = call.split()
        table[words[0]] = set()
        keyword = None
        for word in words[1:]:
            if word in ("USES", "LINKS", "EXCEPT"):
                keyword = word
            elif keyword == "USES":
                table[words[0]].add(word)
    return table


def problems_of(name, content, table, exists):
    folder = name.parts[0]
    for match in INCLUDE.finditer(content):
        line = content.count("\n", 0, match.start()) + 1
        target = match.group(1)
        place = f"{name}:{line}"
        if not exists(target):
            yield f'{place}: "{target}" is not a path from the root of the tree'
        elif folder in table:
            into = target.split("/")[0]
            if into in NEVER_IN_PRODUCT:
                yield f"{place}: {folder} includes {into}/"
            elif into != folder and into not in table[folder]:
                yield f"{place}: no arrow {folder} -> {into} in CMakeLists.txt"


def main():
    table = arrows(tree.text("CMakeLists.txt"))
    problems = []
    if "core" not in table:
        problems.append("CMakeLists.txt: no rooster_folder() lines found")
    sources = tree.files(*tree.CPP)
    for folder in sorted({name.parts[0] for name in sources}):
        if folder not in table and folder not in NEVER_IN_PRODUCT:
            problems.append(f"{folder}/: has sources but no rooster_folder() line")
    for folder, uses in table.items():
        for used in sorted(uses - set(table)):
            problems.append(f"CMakeLists.txt: {folder} uses {used}, which is no folder")
    for name in sources:
        exists = lambda target: (tree.ROOT / target).is_file()
        problems += problems_of(name, tree.text(name), table, exists)
    tree.finish(problems, f"{len(sources)} files along {sum(map(len, table.values()))} arrows")


if __name__ == "__main__":
    main()
