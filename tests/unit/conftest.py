import pytest

from road import Road


@pytest.fixture
def road(scanners):
    made = []

    def make(**settings):
        made.append(Road(scanners, **settings))
        return made[-1]

    yield make
    for item in made:
        item.provider.shutdown()
        item.meters.shutdown()
