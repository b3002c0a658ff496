"""What the rules share: the files of the tree and one way to report."""
import os
import pathlib
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
CPP = (".hpp", ".cpp")


def files(*suffixes):
    """Paths relative to the root: tracked and new files, never ignored ones; sorted."""
    listing = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT, capture_output=True, text=True, check=False)
    if listing.returncode == 0:
        names = listing.stdout.split("\n")
    else:  # an unpacked archive has no .git
        names = [os.path.relpath(os.path.join(folder, name), ROOT)
                 for folder, _, inside in os.walk(ROOT) for name in inside]
        names = [name for name in names if not name.startswith(("build/", ".git/"))]
    wanted = [pathlib.PurePath(name) for name in sorted(set(names)) if name]
    return [name for name in wanted
            if (not suffixes or name.suffix in suffixes) and (ROOT / name).is_file()]


def text(name):
    return (ROOT / name).read_text(encoding="utf-8", errors="replace")


def finish(problems, checked):
    """Prints every problem and leaves with 1, or says what was checked."""
    for problem in problems:
        print(problem)
    if problems:
        sys.exit(f"{len(problems)} problem(s)")
    print(f"ok: {checked}")
