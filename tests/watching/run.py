#!/usr/bin/env python3
"""Runs what operators watch with against the real program: run.py [traces|cost|prometheus|panels|scale]… (default: all)."""
import os
import pathlib
import subprocess
import sys
import time
import traceback

ROOT = pathlib.Path(__file__).resolve().parents[2]
VENV = ROOT / "target" / "watching-venv"
PACKAGES = ["websockets==15.0.1", "opentelemetry-proto==1.45.2", "PyYAML==6.0.4", "matplotlib==3.11.2"]


def prepared():
    """Goes on in a Python that has the packages."""
    python = VENV / "bin" / "python3"
    done = VENV / "packages"
    if not done.exists() or done.read_text() != "\n".join(PACKAGES):
        subprocess.run([sys.executable, "-m", "venv", str(VENV)], check=True)
        subprocess.run([str(python), "-m", "pip", "install", "-q", *PACKAGES], check=True)
        done.write_text("\n".join(PACKAGES))
    if pathlib.Path(sys.executable) != python:
        os.execv(python, [str(python), *sys.argv])


def main():
    """Runs the wanted tests; prints one line each."""
    wanted = [name for name in sys.argv[1:] if name != "full"] or ["traces", "cost", "prometheus", "panels", "scale"]
    failed = 0
    for name in wanted:
        module = __import__(name)
        for test in module.TESTS:
            began = time.monotonic()
            try:
                test()
                print(f"ok   {test.__name__.removeprefix('test_').replace('_', ' ')} ({time.monotonic() - began:.1f} s)", flush=True)
            except Exception:  # a test that breaks has failed; the others still run
                failed += 1
                print(f"FAIL {test.__name__.removeprefix('test_').replace('_', ' ')}\n{traceback.format_exc()}", flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    prepared()
    sys.exit(main())
