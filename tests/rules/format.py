"""Every source file is as clang-format-19 leaves it."""
import subprocess

import tree


def main():
    names = [str(name) for name in tree.files(*tree.CPP)]
    if not names:
        tree.finish(["no sources found"], "")
    run = subprocess.run(["clang-format-19", "--dry-run", "-Werror", "--ferror-limit=1", *names],
                         cwd=tree.ROOT, capture_output=True, text=True, check=False)
    problems = []
    if run.returncode != 0:
        problems = [line for line in run.stderr.split("\n") if "error:" in line] or [run.stderr]
        problems.append("mend with: clang-format-19 -i <file>")
    tree.finish(problems, f"{len(names)} files")


if __name__ == "__main__":
    main()
