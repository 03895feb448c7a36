#!/usr/bin/env python3
"""Makes the dashboard: python3 deploy/grafana/lockside.py >deploy/grafana/lockside.json

A row of the dashboard is a list here, and a panel a line: how it looks, its title, its unit, what it says, and its
expressions, each with its legend. `SELECT` becomes the choice of namespace and app.
"""

import json

SELECT = 'namespace=~"$namespace", job=~"$job"'
# Metrics that other programs have, too: only those of a lockside.
OURS = "and on (namespace, job, instance) lockside_build_info"

ROWS = {
    "Locks": [
        ("stat", "Locks held", "short", "Of the namespace, over all sidecars. Expired ones count until they are swept.",
         ("sum(lockside:locks_held:max{SELECT})", "locks")),
        ("stat", "Held through open connections", "short", "Locks that their holders keep by a connection to lockside.",
         ("sum(lockside_holds{SELECT})", "holds")),
        ("stat", "Oldest lock", "s", "How long it has been held.",
         ("time() - min(lockside_oldest_lock_timestamp_seconds{SELECT})", "oldest")),
        ("graph", "Lost while held through a connection", "short", "Within the last 10 min, by what the holder was told.",
         ("sum by (job, reason) (lockside:holds_lost:increase10m{SELECT})", "{{job}} {{reason}}")),
        ("graph", "Requests by outcome", "reqps", "`held` is a good answer. 5 min rate.",
         ("sum by (outcome) (lockside:requests:rate5m{SELECT})", "{{outcome}}")),
        ("graph", "Requests by operation", "reqps", "5 min rate.",
         ("sum by (dialect, operation) (lockside:requests:rate5m{SELECT})", "{{dialect}} {{operation}}")),
        ("graph", "Failed requests", "percentunit", "Redis unavailable or slow, or too many requests at once; of all requests.",
         ("lockside:failures:ratio5m{SELECT}", "{{job}}")),
        ("graph", "Time of a request, 99 %", "s", "Without those that may wait in the queue.",
         ("max by (operation) (lockside:request_duration_seconds:p99_5m{SELECT})", "{{operation}}")),
        ("graph", "Renewals and releases of expired leases", "short", "Within the last 10 min. Each is work without its lock.",
         ('sum by (job, operation) (lockside:requests:increase10m{SELECT, operation=~"renew|release|fence", '
          'outcome=~"lost|not-found"})', "{{job}} {{operation}}")),
        ("graph", "Unknown outcome", "short", "Within the last 10 min: no reply from Redis in time.",
         ('sum by (job, operation) (lockside:requests:increase10m{SELECT, outcome="outcome-unknown"})',
          "{{job}} {{operation}}")),
    ],
    "Waiting": [
        ("stat", "Waiters", "short", "Requests that wait for a lock now.",
         ("sum(lockside:waiters:sum{SELECT})", "waiters")),
        ("graph", "Waiters by sidecar", "short", "--max-waiters bounds each.",
         ("lockside_waiters{SELECT}", "{{instance}}")),
        ("graph", "Time until an acquire is answered, 99 %", "s", "The queue, and Redis. Granted or not.",
         ("max by (operation) (lockside:acquire_duration_seconds:p99_5m{SELECT})", "{{operation}}")),
        ("graph", "Not granted", "reqps", "Held by another owner, not in time, or too many waiters. 5 min rate.",
         ('sum by (outcome) (lockside:requests:rate5m{SELECT, outcome=~"held|wait-timeout|too-many-waiters"})',
          "{{outcome}}")),
    ],
    "Watching": [
        ("stat", "Watchers", "short", "Streams of lock events that are open now.",
         ("sum(lockside_watchers{SELECT})", "watchers")),
        ("graph", "Watchers by sidecar", "short", "By what they watch. --max-watchers bounds each sidecar's.",
         ("lockside_watchers{SELECT}", "{{instance}} {{kind}}")),
        ("graph", "Gaps", "short", "Within the last 10 min: watchers that were told that they may have missed changes.",
         ("lockside:watch_gaps:increase10m{SELECT}", "{{job}}")),
    ],
    "Elections": [
        ("graph", "Leaders", "short", "By election: 1 where one leads, 0 where none does.",
         ("sum by (job, election) (lockside_leader{SELECT})", "{{job}} {{election}}")),
        ("graph", "Changes of leader", "short", "Within the last 10 min, by why.",
         ("sum by (job, election, why) (increase(lockside_leader_changes_total{SELECT}[10m]))",
          "{{job}} {{election}} {{why}}")),
    ],
    "Redis": [
        ("stat", "Sidecars that can use Redis", "percentunit", "Of all.",
         ("avg(lockside:redis_up:ratio{SELECT})", "connected")),
        ("graph", "Can use Redis", "bool_yes_no", "By sidecar.",
         ("lockside_redis_up{SELECT}", "{{instance}}")),
        ("graph", "Safety warnings", "bool_yes_no", "By code; docs/operations/redis.md says what to do about each. "
         "Empty: none.",
         ("max by (job, warning) (lockside_redis_warning{SELECT}) > 0", "{{job}} {{warning}}")),
        ("graph", "Round trip, 99 %", "s", "From sending a command to its reply.",
         ("max by (job) (lockside:redis_round_trip_seconds:p99_5m{SELECT})", "{{job}}")),
        ("graph", "Round trips", "ops", "Each is one script or command.",
         ("sum by (operation) (rate(lockside_redis_commands_total{SELECT}[$__rate_interval]))",
          "{{operation}}")),
        ("graph", "Commands without a good reply", "ops", "By what is known of them.",
         ("sum by (operation, error) (rate(lockside_redis_errors_total{SELECT}[$__rate_interval]))",
          "{{operation}} {{error}}")),
    ],
    "Process": [
        ("stat", "Sidecars", "short", "By version.",
         ("count by (version) (lockside_build_info{SELECT})", "{{version}}")),
        ("graph", "CPU", "percentunit", "Of one core.",
         ("rate(process_cpu_seconds_total{SELECT}[$__rate_interval]) " + OURS, "{{instance}}")),
        ("graph", "Memory", "bytes", "Resident.",
         ("process_resident_memory_bytes{SELECT} " + OURS, "{{instance}}")),
        ("graph", "Connections", "short", "By listener. --max-connections bounds those of the API, 64 those for metrics and health.",
         ("sum by (instance, listener) (lockside_connections{SELECT})", "{{instance}} {{listener}}")),
        ("graph", "Connections refused", "cps", "Too many were open.",
         ("sum by (instance, listener) (rate(lockside_connections_refused_total{SELECT}[$__rate_interval]))",
          "{{instance}} {{listener}}")),
        ("graph", "File descriptors", "percentunit", "Open, of those allowed.",
         ("process_open_fds{SELECT} / process_max_fds{SELECT} " + OURS, "{{instance}}")),
    ],
}

DATASOURCE = {"type": "prometheus", "uid": "${datasource}"}
WIDTH, HEIGHT = 24, 8


def panel(number, place, kind, title, unit, description, *targets):
    options = {"legend": {"displayMode": "list", "placement": "bottom"}, "tooltip": {"mode": "multi", "sort": "desc"}}
    return {
        "id": number,
        "type": {"stat": "stat", "graph": "timeseries"}[kind],
        "title": title,
        "description": description,
        "datasource": DATASOURCE,
        "gridPos": place,
        "fieldConfig": {"defaults": {"unit": unit, "min": 0}, "overrides": []},
        "options": options if kind == "graph" else {"colorMode": "none", "graphMode": "area"},
        "targets": [
            {
                "refId": chr(ord("A") + index),
                "datasource": DATASOURCE,
                "expr": expression.replace("SELECT", SELECT),
                "legendFormat": legend,
            }
            for index, (expression, legend) in enumerate(targets)
        ],
    }


def panels():
    made, y = [], 0
    for title, row in ROWS.items():
        place = {"x": 0, "y": y, "w": WIDTH, "h": 1}
        made.append({"id": len(made) + 1, "type": "row", "title": title, "collapsed": False, "gridPos": place, "panels": []})
        x, y = 0, y + 1
        for kind, *rest in row:
            width = WIDTH // 6 if kind == "stat" else WIDTH // 3
            if x + width > WIDTH:
                x, y = 0, y + HEIGHT
            made.append(panel(len(made) + 1, {"x": x, "y": y, "w": width, "h": HEIGHT}, kind, *rest))
            x += width
        y += HEIGHT
    return made


def variable(name, label):
    return {
        "name": name,
        "label": label,
        "type": "query",
        "datasource": DATASOURCE,
        "query": {"query": f"label_values(lockside_build_info, {name})", "refId": name},
        "includeAll": True,
        # Matches what has no such label, too.
        "allValue": ".*",
        "current": {"text": "All", "value": "$__all"},
        "multi": True,
        "refresh": 2,
    }


DASHBOARD = {
    "uid": "lockside",
    "title": "lockside",
    "description": "Locks, waiting, watching, elections, Redis and the process. Needs the recording rules of deploy/prometheus/rules.yaml.",
    "tags": ["lockside"],
    "schemaVersion": 38,
    "editable": True,
    "refresh": "30s",
    "time": {"from": "now-3h", "to": "now"},
    "templating": {
        "list": [
            {"name": "datasource", "label": "Prometheus", "type": "datasource", "query": "prometheus"},
            variable("namespace", "Namespace"),
            variable("job", "App"),
        ]
    },
    "panels": panels(),
}

print(json.dumps(DASHBOARD, indent=2, ensure_ascii=False))
