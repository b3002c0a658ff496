"""Every header compiles alone. A header whose own .cpp includes it first is proven by the build;
the others are compiled here with the build's own flags. What passed is remembered by content.
  headers_alone.py <build directory>"""
import concurrent.futures
import hashlib
import json
import os
import pathlib
import re
import shlex
import subprocess
import sys

import tree

INCLUDE = re.compile(r'^\s*#\s*include\s+[<"]([^">]+)[">]', re.M)
OURS = re.compile(r'^\s*#\s*include\s+"([^"]+)"', re.M)


def compile_command(build):
    """The build's command for some file of ours, without its input, output and launcher."""
    entries = json.loads((build / "compile_commands.json").read_text())
    entry = next(e for e in entries if f"{tree.ROOT}/core/" in e["file"])
    words = shlex.split(entry["command"])
    words = words[next(i for i, word in enumerate(words) if "clang" in os.path.basename(word)):]
    kept, skip = [], False
    for word in words:
        if skip:
            skip = False
        elif word in ("-o", "-MF", "-MT", "-MQ"):
            skip = True
        elif word not in ("-c", "-MD", entry["file"]):
            kept.append(word)
    return kept


def is_proven_by_build(header):
    source = tree.ROOT / header.with_suffix(".cpp")
    if not source.is_file():
        return False
    first = INCLUDE.search(source.read_text(errors="replace"))
    return first is not None and first.group(1) == str(header)


def fingerprint(header, command):
    """Of the header, every header of ours below it, and the command."""
    digest = hashlib.sha256(" ".join(command).encode())
    seen, waiting = set(), [str(header)]
    while waiting:
        name = waiting.pop()
        if name in seen or not (tree.ROOT / name).is_file():
            continue
        seen.add(name)
        content = tree.text(name)
        digest.update(f"{name}\0{content}".encode())
        waiting += OURS.findall(content)
    return digest.hexdigest()


def compiles(header, command):
    run = subprocess.run(command + ["-fsyntax-only", "-x", "c++", "-include", str(header), "/dev/null"],
                         cwd=tree.ROOT, capture_output=True, text=True, check=False)
    return None if run.returncode == 0 else f"{header}: does not compile alone\n{run.stderr[:2000]}"


def main():
    build = pathlib.Path(sys.argv[1])
    command = compile_command(build)
    cache = build / "headers_alone.txt"
    passed = set(cache.read_text().split()) if cache.is_file() else set()
    headers = [name for name in tree.files(".hpp") if not is_proven_by_build(name)]
    marks = {header: fingerprint(header, command) for header in headers}
    waiting = [header for header in headers if marks[header] not in passed]
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count() or 2) as pool:
        results = dict(zip(waiting, pool.map(lambda header: compiles(header, command), waiting)))
    good = [mark for header, mark in marks.items() if results.get(header) is None]
    cache.write_text("\n".join(good) + "\n")
    tree.finish([problem for problem in results.values() if problem],
                f"{len(headers)} headers, {len(waiting)} compiled now")


if __name__ == "__main__":
    main()
