"""What was recorded of calls: spans in memory, rows in the store."""

from cylestio_monitor.store.read import queries


def last(hooked, name):
    return [span for span in hooked.spans() if span.name == name][-1]


def rows(store, query):
    store.flush(5)
    with queries.connect(store.path) as connection:
        return [tuple(row) for row in connection.execute(query)]
