"""Importing the market changes nothing of the process: malloc, environment, threads, cores."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

IMPORT = """
import ctypes, importlib, json, os, pkgutil, sys, threading
import {frameworks}

class Library(ctypes.CDLL):
    def __getattr__(self, name):
        if name == "mallopt":
            changes.append("mallopt")
        return super().__getattr__(name)

def watch(event, arguments):
    if event in ("os.putenv", "os.unsetenv"):
        frame = sys._getframe(1)
        while frame and frame.f_code.co_filename.endswith(("os.py", "<frozen os>")):
            frame = frame.f_back
        if frame and "market" in frame.f_globals["__name__"].split("."):
            changes.append(f"{{event}} {{arguments[0]}}")

def threads():
    return [numba.get_num_threads(), threading.active_count(), sorted(os.sched_getaffinity(0)), {own}]

changes, before = [], threads()
ctypes.CDLL = Library
sys.addaudithook(watch)
import market
names = [m.name for m in pkgutil.walk_packages(market.__path__, "market.") if ("market.rl" in m.name) == {rl}]
for name in names:
    importlib.import_module(name)
now = threads()
market.keep_freed_memory()
print(json.dumps([len(names), changes, before, now]))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="malloc of glibc")
@pytest.mark.parametrize("rl", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_importing_every_module_leaves_the_process_as_it_was(rl: bool) -> None:
    frameworks, own = ("numba, ray, torch", "torch.get_num_threads()") if rl else ("numba", "0")
    code = IMPORT.format(frameworks=frameworks, own=own, rl=rl)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    modules, changes, before, now = json.loads(done.stdout.splitlines()[-1])
    assert modules >= 20
    assert changes == ["mallopt"], "only when it is asked for"
    assert now == before
