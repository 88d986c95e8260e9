"""Scans of files and stores for build pipelines: inputs, findings with file and line, report formats, baselines."""
