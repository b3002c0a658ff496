"""The README's commands and links exist: scripts and their options, `rooster` subcommands, pages.
  readme.py [rooster binary]     with it, subcommands and ```toml blocks are tried too"""
import os
import pathlib
import re
import subprocess
import sys
import tempfile

import tree

BLOCK = re.compile(r"^```(\w*)\n(.*?)^```", re.M | re.S)
LINK = re.compile(r"\]\(([^)#:]+)(?:#[^)]*)?\)")


def pages():
    return [name for name in tree.files(".md") if name.parts[0] in ("README.md", "docs", "bench")]


def broken_links(page):
    folder = (tree.ROOT / page).parent
    for target in LINK.findall(tree.text(page)):
        if not (folder / target).exists():
            yield f"{page}: links to {target}, which is not there"


def commands(page):
    for language, body in BLOCK.findall(tree.text(page)):
        if language == "sh":
            for line in body.split("\n"):
                words = line.split("#")[0].split()
                if words:
                    yield words


def wrong_script(page, words):
    script = tree.ROOT / words[0]
    if not os.access(script, os.X_OK):
        yield f"{page}: {words[0]} is not there or not executable"
        return
    for option in (word for word in words[1:] if re.fullmatch(r"--\w[\w-]*", word)):
        if option not in script.read_text():
            yield f"{page}: {words[0]} knows no {option}"


def wrong_subcommand(page, rooster, words):
    words = words[:words.index("--")] if "--" in words else words  # behind it: another program's
    names = []
    for word in words[1:]:
        if not re.fullmatch(r"[a-z]+", word):
            break
        names.append(word)
    # `explain hello`: the last word may be an argument. Help must know the first.
    run = subprocess.run([rooster, names[0], "--help"], capture_output=True, text=True, check=False)
    if run.returncode != 0:
        yield f"{page}: rooster {names[0]} --help left with {run.returncode}"
    for option in (word for word in words[1:] if word.startswith("-")):
        if option not in run.stdout and option not in subprocess.run(
                [rooster, *names, "--help"], capture_output=True, text=True, check=False).stdout:
            yield f"{page}: rooster {' '.join(names)} knows no {option}"


def wrong_toml(page, rooster):
    """A page's node and apps, loaded as one configuration."""
    blocks = [body for language, body in BLOCK.findall(tree.text(page)) if language == "toml"]
    node = [body for body in blocks if re.search(r"^domain\s*=", body, re.M)]
    apps = [body for body in blocks if re.search(r"^app\s*=", body, re.M)]
    if not node:
        return
    with tempfile.TemporaryDirectory() as folder:
        home = pathlib.Path(folder)
        (home / "rooster.toml").write_text(node[0])
        (home / "apps").mkdir()
        for number, body in enumerate(apps):
            (home / "apps" / f"app{number}.toml").write_text(body)
        run = subprocess.run([rooster, "config", "check", "-c", str(home / "rooster.toml")],
                             capture_output=True, text=True, check=False)
        if run.returncode != 0:
            yield f"{page}: its configuration does not load:\n{run.stdout}{run.stderr}"


def main():
    rooster = sys.argv[1] if len(sys.argv) > 1 and os.access(sys.argv[1], os.X_OK) else None
    problems, seen = [], 0
    for page in pages():
        problems += broken_links(page)
        for words in commands(page):
            seen += 1
            if words[0].startswith(("scripts/", "bench/")):
                problems += wrong_script(page, words)
            elif words[0] == "rooster" and rooster:
                problems += wrong_subcommand(page, rooster, words)
        if rooster:
            problems += wrong_toml(page, rooster)
    ci, readme = tree.text(".ci/run"), tree.text("README.md")
    for command in re.findall(r"^job \w+ \w+ (.+)$", ci, re.M):
        if command not in readme:
            problems.append(f".ci/run calls '{command}', which the README does not name")
    tree.finish(problems, f"{seen} commands")


if __name__ == "__main__":
    main()
