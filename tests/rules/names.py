"""What the docs name exists: `files`, `Types`, `functions()`, `kConstants`, `Suite.Test` and
`test_…` names; and every promise in docs/guarantees.md names a test."""
import re

import tree

CODE = re.compile(r"(?<!`)`([^`\n]+)`(?!`)")
PATH = re.compile(r"[\w.-]+(?:/[\w.*-]+)+/?")
TEST = re.compile(r"[A-Z]\w+\.[A-Z]\w+")
QUALIFIED = re.compile(r"(?:\w+::)+(\w+)(?:\(\))?")
PYTEST = re.compile(r"test_\w+")
FUNCTION = re.compile(r"([a-z]\w+)\(\)")
CONSTANT = re.compile(r"k[A-Z]\w+")
TYPE = re.compile(r"[A-Z][a-z0-9]+(?:[A-Z][a-z0-9]+)+")
FOLDERS = {"core", "keeper", "net", "config", "tls", "machines", "proxy", "admin", "cli", "app", "tests",
           "scripts", "docs", "bench", "examples", "cmake", ".ci"}
# Words that look like type names and are not ours.
FOREIGN = {"FastAPI", "GoAway", "GoogleTest", "WebSocket", "OpenSSL", "HAProxy", "WireGuard", "CMakeLists"}


def wrong(token, words, tests):
    """Why `token` names something that is not there; None if it is, or names nothing of ours."""
    if PATH.fullmatch(token) and token.split("/")[0] in FOLDERS:
        clean = token.rstrip("/")
        found = (list(tree.ROOT.glob(clean)) if "*" in clean else (tree.ROOT / clean).exists())
        return None if found or clean.startswith("build/") else "no such file"
    if TEST.fullmatch(token):
        return None if token in tests else "no such test"
    for pattern in (QUALIFIED, FUNCTION, CONSTANT, TYPE, PYTEST):
        match = pattern.fullmatch(token)
        if match:
            name = match.group(1) if match.groups() else token
            return None if name in words or token in FOREIGN else "no such name in the sources"
    return None


def unproven():
    for number, line in enumerate(tree.text("docs/guarantees.md").split("\n"), 1):
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if line.startswith("|") and cells[0] not in ("#", "Event") and not set(line) <= set("|-"):
            if not any(TEST.fullmatch(token) or PYTEST.fullmatch(token) for token in CODE.findall(cells[-1])):
                yield f"docs/guarantees.md:{number}: names no test: {cells[0]}"


def main():
    sources = tree.files(*tree.CPP, ".py")
    words, tests = set(), set()
    for name in sources:
        content = tree.text(name)
        words.update(re.findall(r"\w+", content))
        tests.update(f"{suite}.{test}" for suite, test in
                     re.findall(r"\bTEST(?:_F|_P)?\(\s*(\w+),\s*(\w+)\s*\)", content))
    problems, seen = list(unproven()), 0
    for page in tree.files(".md"):
        for number, line in enumerate(tree.text(page).split("\n"), 1):
            for token in CODE.findall(line):
                seen += 1
                why = wrong(token, words, tests)
                if why:
                    problems.append(f"{page}:{number}: `{token}`: {why}")
    tree.finish(problems, f"{seen} names")


if __name__ == "__main__":
    main()
