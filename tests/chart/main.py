"""Runs every function whose name begins with "test_" in the modules below; each is one guarantee."""
import sys
import time
import traceback

import harness
import test_binary
import test_config
import test_deploy
import test_golden
import test_objects
import test_refused
import test_values
import test_watching

MODULES = [test_objects, test_values, test_config, test_refused, test_golden, test_watching, test_deploy]


def main():
    """Prints one line per failure, then the counts."""
    if "--update" in sys.argv:
        test_golden.update()
    slow = "--slow" in sys.argv
    modules = MODULES + ([test_binary] if test_binary.BINARY else [])
    passed, failed = 0, []
    for module in modules:
        for name, test in vars(module).items():
            if not name.startswith("test_") or not callable(test):
                continue
            began = time.monotonic()
            try:
                problems = [str(problem) for problem in test() or ()]
            except Exception:  # a test that breaks has failed; the others still run
                problems = [traceback.format_exc()]
            took = time.monotonic() - began
            if slow:
                print(f"{took:6.2f}s {name}")
            if problems:
                failed.append(name)
                print(f"FAIL {name.removeprefix('test_').replace('_', ' ')}")
                for problem in problems[:harness.SHOWN]:
                    print(f"     {problem}")
                if len(problems) > harness.SHOWN:
                    print(f"     and {len(problems) - harness.SHOWN} more")
            else:
                passed += 1
    print(f"{passed} passed, {len(failed)} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
