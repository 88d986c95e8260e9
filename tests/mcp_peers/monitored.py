"""Runs an MCP server under monitoring: `python monitored.py SPANS_FILE MODE MODULE_OR_SCRIPT [ARGUMENTS ...]`."""

import runpy
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

from opentelemetry import trace

from mcp_peers import watching


def main():
    path, mode, target = sys.argv[1:4]
    sys.argv = sys.argv[3:]
    with watching(path, mode=mode) as spans:
        trace.set_tracer_provider(spans.provider)
        if target.endswith(".py"):
            runpy.run_path(target, run_name="__main__")
        else:
            runpy.run_module(target, run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
