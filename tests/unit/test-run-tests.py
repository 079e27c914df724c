"""tools/run_tests.py: what is missing, silent or left behind must count as a failure, and nothing may outlive its step."""
import contextlib
import io
import pathlib
import signal
import subprocess
import sys
import tempfile
import unittest

TOP = pathlib.Path(__file__).resolve().parents[2]
sys.dont_write_bytecode = True
sys.path.insert(0, str(TOP / "tools"))
import run_tests
from run_tests import Counts

FAILURE = Counts(failed=1)


class Steps(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        run_tests.LOGS = pathlib.Path(folder.name)
        run_tests.ENDINGS = (signal.SIGTERM, 5), (signal.SIGKILL, 5)
        self.said = io.StringIO()
        self.enterContext(contextlib.redirect_stdout(self.said))

    def test_missing_suite(self):
        self.addCleanup(setattr, run_tests, "meson_suites", run_tests.meson_suites)
        run_tests.meson_suites = lambda flavour: {"unit"}
        self.assertEqual(run_tests.meson("gcc", ["unit", "sim"], 1), FAILURE)
        self.assertIn("there is no suite sim in build/gcc", self.said.getvalue())

    def test_folder_without_tests(self):
        self.assertEqual(run_tests.pytest("docs", 1), FAILURE)
        self.assertIn("there is no test in docs", self.said.getvalue())

    def test_no_verdict(self):
        self.assertEqual(run_tests.verdicts("silent", ["true"], 1), FAILURE)
        self.assertIn("silent ran nothing", self.said.getvalue())
        self.assertEqual(run_tests.verdicts("mute", ["false"], 1), FAILURE)

    def test_verdicts(self):
        self.assertEqual(run_tests.verdicts("two", ["printf", r"a: ok\nb: FAILED\n"], 1), Counts(1, 1))
        self.assertEqual(run_tests.verdicts("late", ["sh", "-c", "echo a: ok; exit 3"], 1), Counts(1, 1))

    def test_group_ends_with_a_step(self):
        for name, minutes, last in ("slow", 0.005, "wait"), ("quick", 1, "exit 0"):
            run_tests.run(name, ["sh", "-c", f"sleep 600 & echo $!; {last}"], minutes)
            pid = (run_tests.LOGS / f"{name}.log").read_text().split()[0]
            self.assertNotEqual(subprocess.run(["kill", "-0", pid], stderr=subprocess.DEVNULL).returncode, 0, name)


unittest.main()
