"""What the dashboards are made of: panels that ask a question, data sources, variables."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from grafana_foundation_sdk.builders import bargauge, dashboard, prometheus, stat, table, tempo, timeseries
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.cog.variants import Dataquery
from grafana_foundation_sdk.models import dashboard as models

if TYPE_CHECKING:
    from collections.abc import Sequence

PROMETHEUS = models.DataSourceRef(type_val="prometheus", uid="cylestio-prometheus")
JAEGER = models.DataSourceRef(type_val="jaeger", uid="cylestio-jaeger")
TEMPO = models.DataSourceRef(type_val="tempo", uid="cylestio-tempo")
BUILDERS = {"stat": stat.Panel, "series": timeseries.Panel, "bars": bargauge.Panel, "table": table.Panel}
WIDTH = {"stat": 6, "series": 12, "bars": 12, "table": 12}
HEIGHT = {"stat": 4, "series": 8, "bars": 8, "table": 9}


def new(metric: str, selector: str = "", window: str = "$__range") -> str:
    """What a counter rose by, its first value included: `increase` alone does not see a series that is born at 1."""
    counter = f"{metric}{selector}"
    return f"(last_over_time({counter}[{window}]) unless {counter} offset {window}) or increase({counter}[{window}])"


@dataclass
class JaegerQuery(Dataquery):
    """A search of Grafana's Jaeger data source, for which the SDK has no type.

    Attributes:
        service: The service to search in.
        tags: Space-separated `key=value` pairs.
    """

    service: str
    tags: str
    ref_id: str = "A"

    def to_json(self) -> dict[str, object]:
        """As the data source's editor saves it."""
        fields = {"queryType": "search", "service": self.service, "tags": self.tags, "limit": 50}
        return {"refId": self.ref_id, "datasource": JAEGER, **fields}

    def dataquery_type(self) -> str:
        """The data source's name."""
        return "jaeger"

    def build(self) -> JaegerQuery:
        """Itself: it is its own builder."""
        return self


@dataclass(frozen=True)
class Panel:
    """One question and its query.

    Attributes:
        title: The question in a few words.
        question: The question as the panel's description.
        query: PromQL, or a query of a trace store.
        kind: How the answer is drawn.
        unit: Grafana's unit of the values.
        legend: Template of each series' name.
    """

    title: str
    question: str
    query: str | JaegerQuery | tempo.TempoQuery
    kind: Literal["stat", "series", "bars", "table"] = "series"
    unit: str = "short"
    legend: str = "__auto"


def build(uid: str, title: str, panels: Sequence[Panel], variables: Sequence[Any] = ()) -> dict[str, Any]:
    """A dashboard as plain JSON types."""
    made = dashboard.Dashboard(title).uid(uid).tags(["cylestio"]).readonly().refresh("30s").time("now-6h", "now")
    for variable in variables:
        made = made.with_variable(variable)
    for panel in panels:
        made = made.with_panel(_panel(panel))
    plain = json.loads(json.dumps(made.build(), cls=JSONEncoder))
    for variable in plain["templating"].get("list", []):
        # Of interval variables only; the SDK writes them for every kind, which Grafana's schema does not know.
        for name in ("auto", "auto_count", "auto_min"):
            variable.pop(name, None)
    return plain


def _panel(panel: Panel) -> Any:
    builder = BUILDERS[panel.kind]().title(panel.title).description(panel.question).unit(panel.unit)
    builder = builder.span(WIDTH[panel.kind]).height(HEIGHT[panel.kind])
    if not isinstance(panel.query, str):
        source = JAEGER if isinstance(panel.query, JaegerQuery) else TEMPO
        return builder.datasource(source).with_target(panel.query).span(24)
    target = prometheus.Dataquery().expr(panel.query).legend_format(panel.legend).ref_id("A").datasource(PROMETHEUS)
    target = target.range() if panel.kind == "series" else target.instant()
    if panel.kind == "table":
        target = target.format("table")
    return builder.datasource(PROMETHEUS).with_target(target)


def service_variable() -> Any:
    """A choice of services, all of them at first."""
    return (
        dashboard.QueryVariable("service")
        .label("Service")
        .datasource(PROMETHEUS)
        .query("label_values(cylestio_span_calls_total, service_name)")
        .refresh(models.VariableRefresh.ON_TIME_RANGE_CHANGED)
        .multi(multi=True)
        .include_all(include_all=True)
        .all_value(".*")
    )


def text_variable(name: str, label: str, default: str) -> Any:
    """A field to type into."""
    return dashboard.TextBoxVariable(name).label(label).default_value(default)
