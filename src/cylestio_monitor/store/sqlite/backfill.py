"""SQL that fills runs, roll-ups and compact keys of a file of version 2 from its rows; part of the migration to 3."""

from __future__ import annotations

from typing import Final

SCRIPT: Final = """
DELETE FROM event WHERE event_type = 'store_gap' AND seq IS NULL;
INSERT INTO run (trace_id, name, has_root, agent_id, session_id, start_ns, end_ns, spans, model_calls, tool_calls,
    failed, severity_number, input_tokens, output_tokens)
SELECT trace_id, coalesce(max(CASE WHEN parent_span_id IS NULL THEN name END), min(name)),
    max(parent_span_id IS NULL), max(agent_id), max(session_id), min(start_ns), max(end_ns), count(*),
    count(CASE WHEN event_type = 'llm_call' THEN 1 END), count(CASE WHEN event_type = 'tool_call' THEN 1 END),
    count(CASE WHEN status = 2 THEN 1 END), max(severity_number),
    coalesce(sum(input_tokens), 0), coalesce(sum(output_tokens), 0)
FROM span GROUP BY trace_id ORDER BY min(id);
CREATE INDEX run_migrated ON run (trace_id);
INSERT INTO run (trace_id, agent_id, session_id, start_ns, end_ns)
SELECT trace_id, max(agent_id), max(session_id), CAST(strftime('%s', min(timestamp)) AS INTEGER) * 1000000000,
    CAST(strftime('%s', max(timestamp)) AS INTEGER) * 1000000000
FROM findings WHERE trace_id NOT IN (SELECT trace_id FROM run) GROUP BY trace_id ORDER BY min(id);
UPDATE run SET shard = id >> 14;
UPDATE span SET run = (SELECT id FROM run WHERE run.trace_id = span.trace_id);
UPDATE findings SET run = (SELECT id FROM run WHERE run.trace_id = findings.trace_id);
DROP INDEX run_migrated;
DROP INDEX span_identity;
CREATE UNIQUE INDEX span_identity ON span (run, span_id);
DROP INDEX finding_identity;
CREATE UNIQUE INDEX finding_identity ON findings (run, span_id, rule_id, target, subtype, path, start, "end")
    WHERE span_id <> '0000000000000000';
UPDATE run SET findings = (SELECT count(*) FROM findings WHERE findings.run = run.id),
    service_name = (SELECT json_extract(shared.body, '$.resource."service.name"')
        FROM span JOIN shared ON shared.id = span.source WHERE span.run = run.id LIMIT 1);
INSERT INTO usage (hour, agent_id, event_type, channel, level, alert, model, tool, events, first_ns, last_ns, failed,
    duration_ns, input_tokens, output_tokens)
SELECT start_ns / 3600000000000, coalesce(agent_id, ''), event_type, coalesce(channel, ''),
    CASE WHEN alert = 'dangerous' OR status = 2 THEN 'ERROR' WHEN alert = 'suspicious' THEN 'WARNING' ELSE 'INFO' END,
    alert, coalesce(model, ''), coalesce(tool, ''), count(*), min(start_ns), max(start_ns),
    count(CASE WHEN status = 2 THEN 1 END), sum(end_ns - start_ns), coalesce(sum(input_tokens), 0),
    coalesce(sum(output_tokens), 0)
FROM span WHERE event_type IS NOT NULL GROUP BY 1, 2, 3, 4, 5, 6, 7, 8;
INSERT INTO usage (hour, agent_id, event_type, channel, level, alert, model, tool, events, first_ns, last_ns)
SELECT time_ns / 3600000000000, coalesce(agent_id, ''), event_type, channel, level,
    CASE WHEN json_valid(data) THEN coalesce(json_extract(data, '$.alert'), '') ELSE '' END, '', '', count(*),
    min(time_ns), max(time_ns)
FROM event GROUP BY 1, 2, 3, 4, 5, 6;
INSERT INTO entity (kind, name, agent_id, first_ns, last_ns, spans, model_calls, tool_calls, failed, findings,
    severity_number, input_tokens, output_tokens)
SELECT 'session', session_id, max(agent_id), min(start_ns), max(end_ns), sum(spans), sum(model_calls), sum(tool_calls),
    sum(failed), sum(findings), max(severity_number), sum(input_tokens), sum(output_tokens)
FROM run WHERE session_id IS NOT NULL GROUP BY session_id;
INSERT INTO entity (kind, name, agent_id, first_ns, last_ns, spans, model_calls, tool_calls, failed, findings,
    severity_number, input_tokens, output_tokens)
SELECT 'agent', agent_id, agent_id, min(start_ns), max(end_ns), sum(spans), sum(model_calls), sum(tool_calls),
    sum(failed), sum(findings), max(severity_number), sum(input_tokens), sum(output_tokens)
FROM run WHERE agent_id IS NOT NULL GROUP BY agent_id;
INSERT INTO entity (kind, name, agent_id, first_ns, last_ns, spans, tool_calls, failed, severity_number)
SELECT 'tool', tool, max(agent_id), min(start_ns), max(end_ns), count(*), count(*),
    count(CASE WHEN status = 2 THEN 1 END), max(severity_number)
FROM span WHERE tool IS NOT NULL GROUP BY tool;
"""
