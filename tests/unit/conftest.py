import pytest

from road import Road


@pytest.fixture
def road():
    made = []

    def make(**settings):
        made.append(Road(**settings))
        return made[-1]

    yield make
    for item in made:
        item.provider.shutdown()
        item.meters.shutdown()
