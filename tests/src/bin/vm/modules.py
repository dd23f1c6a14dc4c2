"""Copies the modules that the conformance suite of W3C Trace Context loads, compiled, to below a folder, at the same paths as here, and
prints Python's own path and those of the modules that are libraries. For suite.rs.

    python3 -c "$(cat modules.py)" SUITE TO
"""
import contextlib
import os
import py_compile
import shutil
import socket
import sys
import traceback
import unittest
from importlib.util import cache_from_source

suite, to = sys.argv[1:]
sys.dont_write_bytecode = True
sys.path[:0] = [os.path.join(suite, part) for part in ("test", "packages")]

with contextlib.redirect_stdout(sys.stderr):
    from test import TestClient, TestServer

# What is loaded only once it is used: the harness is asked to have itself asked.
with socket.create_server(("127.0.0.1", 0)) as free:
    host, port = free.getsockname()
with contextlib.redirect_stdout(sys.stderr), TestServer(host=host, port=port):
    with TestClient(host=host, port=port).scope() as scope:
        assert scope.send_request({"url": scope.url("0"), "headers": [], "arguments": []})["0"]
traceback.format_exc()
unittest.TextTestRunner(stream=open(os.devnull, "w")).run(unittest.FunctionTestCase(lambda: 1 / 0))
import pprint

for module in list(sys.modules.values()):
    source = getattr(module, "__file__", None)
    if source is None or module.__name__ == "__main__":
        continue
    source = os.path.abspath(source)
    os.makedirs(os.path.dirname(to + source), exist_ok=True)
    shutil.copy(source, to + source)
    if source.endswith(".py"):
        # Files get another time in the machine, which is not to matter.
        compiled = to + cache_from_source(source)
        py_compile.compile(source, compiled, source, True, invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH)
    else:
        print(source)
print(os.path.realpath(getattr(sys, "_base_executable", sys.executable)))
