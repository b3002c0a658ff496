"""Every script is executable, parses, and starts strict."""
import ast
import os
import subprocess

import tree


def problems_of(name):
    path = tree.ROOT / name
    content = tree.text(name)
    first = content.split("\n", 1)[0]
    if not os.access(path, os.X_OK):
        yield f"{name}: is not executable"
    if first == "#!/usr/bin/env bash":
        run = subprocess.run(["bash", "-n", path], capture_output=True, text=True, check=False)
        if run.returncode != 0:
            yield f"{name}: {run.stderr.strip()}"
        if "\nset -euo pipefail\n" not in content:
            yield f"{name}: lacks 'set -euo pipefail'"
    elif "python3" in first:
        try:
            ast.parse(content, str(name))
        except SyntaxError as error:
            yield f"{name}: {error}"
    else:
        yield f"{name}: starts with neither '#!/usr/bin/env bash' nor a python3 line"


def main():
    names = [name for name in tree.files() if name.parts[0] == "scripts" or str(name) == ".ci/run"]
    problems = [problem for name in names for problem in problems_of(name)]
    for wanted in ("scripts/setup", "scripts/build", "scripts/test", "scripts/demo", ".ci/run"):
        if not (tree.ROOT / wanted).is_file():
            problems.append(f"{wanted}: is missing")
    tree.finish(problems, f"{len(names)} scripts")


if __name__ == "__main__":
    main()
