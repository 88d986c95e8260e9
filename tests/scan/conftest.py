"""One scanner of each engine for all tests: reading all rules takes a while."""

import pytest

from cylestio_monitor import config
from cylestio_monitor.scan import Scanner

KEY = b"k" * 32


@pytest.fixture(scope="session")
def plain():
    """The pure-Python scanner with the shipped rules."""
    return Scanner(config.Settings(scan=config.ScanSettings(engine="python")), key=KEY)


@pytest.fixture(scope="session")
def compiled(tmp_path_factory):
    """The scanner with the compiled database."""
    scanner = Scanner(config.Settings(), key=KEY, cache_dir=tmp_path_factory.mktemp("rules"))
    assert scanner.wait_compiled()
    assert scanner.engine == "hyperscan"
    return scanner


@pytest.fixture
def found(plain):
    """The ids of the rules that find something in a text."""

    def ids(text, *, target="input", subtype="llm"):
        return {finding.rule_id for finding in plain.text(text, target=target, subtype=subtype)}

    return ids
