"""What the documents cite exists: files of the source, functions(), and the [acts] of the hand-over and its model."""
import pathlib
import re
import unittest

TOP = pathlib.Path(__file__).resolve().parents[2]
DOCUMENTS = [*(TOP / "docs").rglob("*.md"), *(TOP / "docs/model").glob("*.pml"), TOP / "README.md", TOP / "CONTRIBUTING.md"]
HANDOVER = [TOP / "docs/handover.md", TOP / "docs/model/handover.pml"]
FOLDERS = "src", "tests", "docs", "tools", "kinds"


def defined(*folders: str) -> set[str]:
    """Functions that are defined in a file below the folders: a name before "(" on a line that begins with its type."""
    texts = (path.read_text() for folder in folders for path in (TOP / folder).rglob("*.[ch]"))
    return {name for text in texts for name in re.findall(r"^[a-z][\w ]*[ *](\w+)\([^;]*$", text, re.M)}


def cited_files(text: str) -> set[str]:
    """Paths in backquotes, and in the model those below src/; written from the top, from a folder, or as a name alone."""
    return set(re.findall(r"`([\w./-]+\.(?:[ch]|py|sh|pml|md))`", text)) | set(re.findall(r"\bsrc/[\w/-]+\.[ch]\b", text))


def cited_functions(text: str) -> set[str]:
    return set(re.findall(r"`(\w+)\(\)`", text))


def cited_acts(text: str) -> set[str]:
    lists = re.findall(r"\[([a-z]\w+(?:,\s+[a-z]\w+)*)\](?!\()", text)
    return {name for names in lists for name in re.split(r",\s+", names)}


class Documents(unittest.TestCase):
    def check(self, path: pathlib.Path, cited: set[str], known):
        lost = sorted(name for name in cited if not known(name))
        self.assertEqual(lost, [], f"{path.relative_to(TOP)} cites what is not there")

    def test_files(self):
        files = {f"/{path.relative_to(TOP)}" for folder in FOLDERS for path in (TOP / folder).rglob("*.*")}
        for path in DOCUMENTS:
            self.check(path, cited_files(path.read_text()), lambda name: any(f.endswith(f"/{name}") for f in files))

    def test_functions(self):
        functions = defined("src")
        for path in DOCUMENTS:
            self.check(path, cited_functions(path.read_text()), functions.__contains__)

    def test_acts_of_the_hand_over(self):
        functions = defined("src/agent/migration", "src/migration")
        for path in HANDOVER:
            acts = cited_acts(path.read_text())
            self.assertGreater(len(acts), 10, path)
            self.check(path, acts, functions.__contains__)

    def test_the_check_finds_what_is_lost(self):
        text = "notes it [note_claimed,\n  vanished]; `gone()` in `src/agent/gone.c`, see [a page](gone.md)"
        self.assertEqual(cited_acts(text) - defined("src/agent/migration"), {"vanished"})
        self.assertEqual(cited_functions(text), {"gone"})
        self.assertEqual(cited_files(text), {"src/agent/gone.c"})


unittest.main()
