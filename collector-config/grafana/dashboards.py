"""The dashboards, as code: each panel is a question, and its query the answer.

usage: python collector-config/grafana/dashboards.py     writes dashboards/*.json beside this file
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from grafana_foundation_sdk.builders import tempo
from panels import TEMPO, JaegerQuery, Panel, build, new, service_variable, text_variable

FOLDER = Path(__file__).with_name("dashboards")
SERVICE = '{service_name=~"$service"}'


def overview() -> dict[str, Any]:
    """Is something wrong, where, and what kind?"""
    found = "cylestio_span_findings_total"
    dangerous = new(found, '{severity=~"high|critical"}')
    suspicious = new(found, '{severity=~"low|medium"}')
    panels = [
        Panel(
            "Dangerous findings", "How many dangerous findings were there?", f"sum({dangerous}) or vector(0)", "stat"
        ),
        Panel(
            "Suspicious findings",
            "How many suspicious findings were there?",
            f"sum({suspicious}) or vector(0)",
            "stat",
        ),
        Panel(
            "Blocked calls",
            "How many calls were blocked?",
            "sum(" + new("cylestio_span_flagged_total", '{action="block"}') + ") or vector(0)",
            "stat",
        ),
        Panel(
            "Firing alerts",
            "How many alerts fire now?",
            'count(ALERTS{alertstate="firing", alertname=~"Cylestio.*"}) or vector(0)',
            "stat",
        ),
        Panel(
            "Findings by category",
            "What was found in the last five minutes, and when did it begin?",
            "sum by (category) (cylestio:findings:new5m)",
            legend="{{category}}",
        ),
        Panel(
            "Services with findings",
            "Which services have the most findings?",
            f"topk(10, sum by (service_name) ({new(found)}))",
            "bars",
            legend="{{service_name}}",
        ),
        Panel(
            "Rules that matched",
            "Which rules matched most?",
            f"topk(20, sum by (rule, category, severity) ({new(found)}))",
            "table",
        ),
        Panel(
            "Tools with findings",
            "Which tools have findings, and was the call blocked?",
            "topk(20, sum by (tool, action, category) (" + new(found, '{tool!=""}') + "))",
            "table",
        ),
    ]
    return build("cylestio-security", "Cylestio: security overview", panels)


def agent() -> dict[str, Any]:
    """What does one service do, and what was found on it?"""
    mine = "cylestio_span_calls_total"
    failed = new(mine, '{service_name=~"$service", status_code="STATUS_CODE_ERROR"}')
    panels = [
        Panel("Calls", "How many calls did it make?", f"sum({new(mine, SERVICE)})", "stat"),
        Panel(
            "Flagged calls",
            "How many of its calls were flagged?",
            "sum(" + new("cylestio_span_flagged_total", SERVICE) + ") or vector(0)",
            "stat",
        ),
        Panel(
            "Failed calls",
            "Which share of its calls failed?",
            f"sum({failed}) / sum({new(mine, SERVICE)})",
            "stat",
            "percentunit",
        ),
        Panel(
            "Tokens",
            "How many tokens did it use?",
            "sum(" + new("gen_ai_client_token_usage_sum", SERVICE) + ")",
            "stat",
        ),
        Panel(
            "Calls by operation",
            "What does it do over time?",
            'sum by (operation) (cylestio:calls:new5m{service_name=~"$service"})',
            legend="{{operation}}",
        ),
        Panel(
            "Findings by rule",
            "What is found on it over time?",
            "sum by (rule) (cylestio:findings:new5m" + SERVICE + ")",
            legend="{{rule}}",
        ),
        Panel(
            "Tools it calls",
            "Which tools does it call, and do they fail?",
            "topk(20, sum by (tool, status_code) (" + new(mine, '{service_name=~"$service", tool!=""}') + "))",
            "table",
        ),
        Panel(
            "Agents with flagged calls",
            "Which of its agents have flagged calls?",
            "topk(20, sum by (agent, alert, action) (" + new("cylestio_span_flagged_total", SERVICE) + "))",
            "table",
        ),
    ]
    return build("cylestio-agent", "Cylestio: one agent", panels, [service_variable()])


INVESTIGATION = (
    ("Dangerous", "Which traces have a dangerous finding?", "alert", "dangerous"),
    ("Suspicious", "Which traces have a suspicious finding at most?", "alert", "suspicious"),
    ("Blocked", "Which traces have a blocked call?", "action", "block"),
    ("Injection", "Which traces have a prompt injection?", "category", "prompt_injection"),
    ("Secrets", "Which traces have a secret?", "category", "secret"),
)


def investigation() -> dict[str, Any]:
    """What happened in one session? From Jaeger."""
    panels = [
        Panel(
            title,
            question,
            JaegerQuery("$service", f'cylestio.session.id="$session" cylestio.security.{key}={value}'),
            "table",
        )
        for title, question, key, value in INVESTIGATION
        if value != "suspicious"
    ]
    panels.append(
        Panel(
            "Everything",
            "What else did the session do?",
            JaegerQuery("$service", 'cylestio.session.id="$session"'),
            "table",
        )
    )
    variables = [text_variable("service", "Service", "support-agent"), text_variable("session", "Session", "monday")]
    return build("cylestio-investigation", "Cylestio: one investigation (Jaeger)", panels, variables)


def investigation_tempo() -> dict[str, Any]:
    """What happened in one session? From Tempo."""
    session = 'span.cylestio.session.id = "$session"'
    injected = f'{{ {session} && span.cylestio.security.category = "prompt_injection" }}'
    queries = [
        (title, question, f'{{ {session} && span.cylestio.security.{key} = "{value}" }}')
        for title, question, key, value in INVESTIGATION
    ]
    queries += [
        (
            "Tools after an injection",
            "Which tools were called in a trace in which an injection was found?",
            f'{injected} && {{ span.gen_ai.operation.name = "execute_tool" }}',
        ),
        (
            "Findings by event",
            "In which traces did a rule of this kind match, also below the top finding?",
            f'{{ {session} && event.cylestio.security.finding.category = "secret" }}',
        ),
        ("Slow", "Which calls took longer than half a minute?", f"{{ {session} && duration > 30s }}"),
        ("Failed", "Which calls failed?", f"{{ {session} && status = error }}"),
    ]
    panels = [
        Panel(
            title,
            question,
            tempo.TempoQuery().query(query).query_type("traceql").limit(50).ref_id("A").datasource(TEMPO),
            "table",
        )
        for title, question, query in queries
    ]
    variables = [text_variable("session", "Session", "monday")]
    return build("cylestio-investigation-tempo", "Cylestio: one investigation (Tempo)", panels, variables)


def cost() -> dict[str, Any]:
    """What do models cost, and how fast do they answer?"""
    bucket = 'cylestio_span_duration_seconds_bucket{model!=""}'
    recent = f"sum by (model, le) (({bucket} unless {bucket} offset 5m) or increase({bucket}[5m]))"
    failed = 'cylestio:calls:new5m{model!="", status_code="STATUS_CODE_ERROR", error!="BlockedError"}'
    panels = [
        Panel(
            "Cost in an hour",
            "What did each service cost in the last hour, by the prices of the rule file?",
            "sum by (service_name) (cylestio:cost_usd:increase1h)",
            unit="currencyUSD",
            legend="{{service_name}}",
        ),
        Panel(
            "Tokens in an hour",
            "How many tokens did each model take and give in the last hour?",
            "sum by (gen_ai_request_model, gen_ai_token_type) (cylestio:tokens:increase1h)",
            legend="{{gen_ai_request_model}} {{gen_ai_token_type}}",
        ),
        Panel(
            "Slow calls",
            "In which time do 95 of 100 calls to a model end?",
            f"histogram_quantile(0.95, {recent})",
            unit="s",
            legend="{{model}}",
        ),
        Panel(
            "Failing models",
            "Which share of the calls to a model fails, blocked ones aside?",
            f'sum by (model) ({failed}) / sum by (model) (cylestio:calls:new5m{{model!=""}})',
            unit="percentunit",
            legend="{{model}}",
        ),
        Panel(
            "Calls by model",
            "Which models are called, by whom?",
            "topk(20, sum by (service_name, model) (" + new("cylestio_span_calls_total", '{model!=""}') + "))",
            "table",
        ),
        Panel(
            "Time spent scanning",
            "How long does the scan of one side of a call take on average?",
            "sum by (service_name) (cylestio_scan_duration_seconds_sum) / "
            "sum by (service_name) (cylestio_scan_duration_seconds_count)",
            "bars",
            "s",
            "{{service_name}}",
        ),
    ]
    return build("cylestio-cost", "Cylestio: cost and latency", panels)


def fleet() -> dict[str, Any]:
    """Do the collectors work, and does everything arrive?"""
    lost = "sum by (instance, exporter) (" + new("otelcol_exporter_send_failed_spans") + ")"
    panels = [
        Panel("Collectors up", "How many collectors answer?", 'sum(up{job=~"cylestio.*"})', "stat"),
        Panel("Fullest queue", "How full is the fullest queue?",
              "max(otelcol_exporter_queue_size / otelcol_exporter_queue_capacity)", "stat", "percentunit"),
        Panel("Spans lost", "How many spans were given up?", f"sum({lost}) or vector(0)", "stat"),
        Panel("Services", "How many services were heard in the last half hour?",
              "count(count by (service_name) (" + new("cylestio_span_calls_total", "", "30m") + " > 0))", "stat"),
        Panel("Spans in", "How many spans does each collector take in, a second?",
              "sum by (instance) (rate(otelcol_receiver_accepted_spans[1m]))", legend="{{instance}}"),
        Panel("Queues", "How much waits for each backend?",
              "sum by (instance, exporter) (otelcol_exporter_queue_size)", legend="{{instance}} {{exporter}}"),
        Panel("Waiting in applications", "How much waits in the applications' own stores?",
              "max by (service_name) (cylestio:delivery_queued)", legend="{{service_name}}"),
        Panel("Masked or cut", "Which services send what a collector must mask or cut?",
              "sum by (service_name) (" + new("cylestio_span_masked_total") + ") or vector(0)",
              "bars", legend="{{service_name}}"),
        Panel("Series", "How many series does each metric take, and is the bound reached?",
              'count by (__name__) ({__name__=~"cylestio_span_.*_total"})', "table"),
        Panel("Sampling", "How many traces does the gateway keep, by policy?",
              f"sum by (policy, sampled) ({new('otelcol_processor_tail_sampling_count_traces_sampled')})", "table"),
    ]  # fmt: skip
    return build("cylestio-fleet", "Cylestio: fleet health", panels)


DASHBOARDS = {
    "security": overview,
    "agent": agent,
    "investigation": investigation,
    "investigation-tempo": investigation_tempo,
    "cost": cost,
    "fleet": fleet,
}


def text(name: str) -> str:
    """The JSON file of a dashboard."""
    return json.dumps(DASHBOARDS[name](), indent=2, sort_keys=True, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    FOLDER.mkdir(exist_ok=True)
    for each in DASHBOARDS:
        (FOLDER / f"{each}.json").write_text(text(each), "utf-8")
