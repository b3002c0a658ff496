"""docs/configuration.md names every key that rooster.toml and the [rooster] table have."""
import re

import tree

PAGE = "docs/configuration.md"
READERS = ("config/read_rooster_table.cpp", "config/parse_node.cpp",
           "config/read_private_network.cpp")
KEY = re.compile(r'\b(?:read\w*|find|table|items)\(\s*(?:\w+,\s*)?"([a-z]\w*)"|std::pair\{"([a-z]\w*)"')


def main():
    page = tree.text(PAGE)
    problems, count = [], 0
    for source in READERS:
        if not (tree.ROOT / source).is_file():
            problems.append(f"{source}: is not there; where are the keys read?")
            continue
        keys = {first or second for first, second in KEY.findall(tree.text(source))}
        count += len(keys)
        problems += [f"{PAGE}: does not name `{key}` ({source})" for key in sorted(keys)
                     if not re.search(rf"\b{key}\b", page)]
    tree.finish(problems, f"{count} keys")


if __name__ == "__main__":
    main()
