"""Less than a minute of scripts/soak.sh."""

import os
import sys
import unittest

from lib.service import ROOT, is_sanitized

sys.path.insert(0, os.path.join(ROOT, "tests", "soak"))


class ASoak(unittest.TestCase):
    def test_flat_after_mixed_load_and_faults(self):
        from soak import Soak
        soak = Soak(16 if is_sanitized() else 45, say=lambda text: print("     " + text))
        problems = soak.go()
        if is_sanitized():  # its quarantine is memory that grows by design
            problems = [p for p in problems if not p.startswith("resident") and "no load" not in p]
        self.assertEqual(problems, [])


if __name__ == "__main__":
    unittest.main()
