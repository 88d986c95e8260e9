"""The table of SDKs, and the public classes that come from it."""

from __future__ import annotations

import ast
import copy
import importlib
import importlib.util
import pickle
import subprocess
import sys

import pytest

from cylestio_monitor.capture import registry
from cylestio_monitor.capture.instrumentor import Instrumentor
from cylestio_monitor.capture.registry import SDKS


@pytest.mark.parametrize("sdk", SDKS)
def test_the_public_class_is_imported_from_the_name_of_the_sdk(sdk):
    program = (
        f"from cylestio_monitor.capture.{sdk} import {SDKS[sdk].class_name} as kind\n"
        "import sys\n"
        "print(kind.__module__, kind.__qualname__, kind().state, 'wrapt' in sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.split() == [f"cylestio_monitor.capture.{sdk}", SDKS[sdk].class_name, "off", "True"]


@pytest.mark.parametrize("sdk", SDKS)
def test_the_public_class_is_one_class_that_pickles_and_copies(sdk):
    module = importlib.import_module(f"cylestio_monitor.capture.{sdk}")
    kind = getattr(module, SDKS[sdk].class_name)
    assert kind is registry.instrumentor_class(sdk)
    assert issubclass(kind, Instrumentor)
    assert kind() is kind()
    assert kind.__doc__ == SDKS[sdk].summary
    assert pickle.loads(pickle.dumps(kind)) is kind
    assert copy.copy(kind) is kind
    assert importlib.util.find_spec(module.__name__) is not None
    with pytest.raises(AttributeError, match="has no attribute 'Nothing'"):
        module.Nothing  # noqa: B018 -- the look-up is what is tested


@pytest.mark.parametrize("sdk", SDKS)
def test_the_hooks_of_each_sdk_can_patch_and_wait_for_what_they_wrap(sdk):
    hooks = importlib.import_module(f"cylestio_monitor.capture.{SDKS[sdk].hooks}")
    assert callable(hooks.patch)
    if hasattr(hooks, "TARGETS"):
        assert {target.module for target in hooks.TARGETS} == set(SDKS[sdk].modules)


def test_importing_the_package_reads_the_table_and_nothing_of_opentelemetry():
    program = (
        "import sys\n"
        "before = set(sys.modules)\n"
        "import cylestio_monitor.capture.anthropic\n"
        "print(sorted(name for name in set(sys.modules) - before if name.startswith('opentelemetry')))\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60)
    assert ast.literal_eval(done.stdout) == []
