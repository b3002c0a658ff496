"""Names the tests that were skipped and why. Under ROOSTER_CI=1 a skipped test is a failed one; only where the
folder of shared vectors does not exist at all may the tests that read it skip.
  skipped.py <JUnit file of ctest>"""
import os
import re
import sys
import xml.etree.ElementTree

import tree

SHARED = tree.ROOT.parent / "shared"
# GoogleTest: "file:line: Skipped" and the reason on the next line; ours: "skipped: reason".
WHY = re.compile(r"(?:: Skipped\s*\n|skipped: )(.*)")


def main():
    bad = 0
    cases = xml.etree.ElementTree.parse(sys.argv[1]).getroot().iter("testcase")
    for case in cases:
        output = case.findtext("system-out") or ""
        # A pytest file passes with some of its tests skipped: its last line says how many.
        if case.find("skipped") is None and not re.search(r"^\d.*\b\d+ skipped", output, re.M):
            continue
        excused = not SHARED.is_dir() and "shared" in output
        bad += not excused
        why = WHY.search(output)
        print(f"skipped{' (excused)' if excused else ''}: {case.get('name')}: "
              f"{why.group(1).strip()[:140] if why else 'no reason given'}")
    if bad and os.environ.get("ROOSTER_CI") == "1":
        sys.exit(f"{bad} skipped test(s) count as failed here (ROOSTER_CI=1)")


if __name__ == "__main__":
    main()
