#!/usr/bin/env bash
# Builds the collector and Jaeger where they are not built yet, runs everything that needs real programs, and prints what
# was checked with which program and version. Debian's Prometheus, Alertmanager and Chromium are installed where they are
# missing and this runs as root.
#
# usage: tests/e2e/run.sh [PYTEST ARGUMENTS]     PYTHON names the interpreter (default: .venv/bin/python)
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
collector-config/build
exec "${PYTHON:-.venv/bin/python}" -m pytest -m e2e tests/e2e tests/browser "$@"
