"""The rules themselves find what they are for."""
import pathlib

import arrows
import limits
import names
import tree
import words

TABLE = arrows.arrows("rooster_folder(core LINKS a::b)\nrooster_folder(net  USES core\n  LINKS c)\n")


def included(name, line):
    exists = lambda target: target != "net/gone.hpp"
    return list(arrows.problems_of(pathlib.PurePath(name), line + "\n", TABLE, exists))


def main():
    holds = {
        "a table is read": TABLE == {"core": set(), "net": {"core"}},
        "an arrow may be followed": not included("net/a.cpp", '#include "core/b.hpp"'),
        "and not backwards": included("core/a.cpp", '#include "net/b.hpp"'),
        "the product has no tests in it": included("net/a.cpp", '#include "tests/b.hpp"'),
        "an include names a file": included("net/a.cpp", '#include "net/gone.hpp"'),
        "tests may include anything": not included("tests/net/a.cpp", '#include "core/b.hpp"'),
        "sizes read as people write them": limits.in_words("kMaxBytes", "4 * 1024 * 1024") == "4 MiB",
        "times too": limits.in_words("kTick", "100ms") == "100 ms",
        "a marker word is found": words.MARKERS.search("// TO" + "DO: more"),
        "a file of ours must be there": names.wrong("core/gone.hpp", set(), set()),
        "a test too": names.wrong("Suite.Gone", set(), set()),
        "and a function": names.wrong("gone()", set(), set()),
        "other words are free": names.wrong("kill_timeout", set(), set()) is None,
    }
    tree.finish([f"does not hold: {what}" for what, is_true in holds.items() if not is_true],
                f"{len(holds)} expectations")


if __name__ == "__main__":
    main()
