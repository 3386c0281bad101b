/**
 * What is written for those who watch: an entry for each alert, metrics that exist in the rules,
 * the dashboard and the guide.
 */

import { describe, expect, it } from 'vitest';
import { parse } from 'yaml';
import { healthChecks } from '../src/core/health.ts';
import { healthMetrics, runMetrics } from '../src/core/health_metrics.ts';
import type { RunAside, RunEvent } from '../src/core/run_outcome.ts';
import { codeSpans, sections, tableRows } from './support/markdown.ts';
import { readText } from './support/source_tree.ts';

const metrics: readonly { name: string; help: string }[] = [
  ...Object.values(runMetrics),
  ...healthMetrics,
];
const names = new Set(metrics.map(({ name }) => name));

/** Every event of a run; the type says that none is missing. */
const events = {
  backup: true,
  incremental: true,
  restore: true,
  recovery: true,
  prune: true,
  verify: true,
  wal_ship: true,
  wal_stream: true,
  monitor: true,
  copy: true,
  retention: true,
} as const satisfies Record<RunEvent | RunAside['event'], true>;

interface Rule {
  readonly alert: string;
  readonly expr: string;
  readonly labels: { readonly severity: string };
  readonly annotations: { readonly summary: string; readonly runbook: string };
}

const rules: Rule[] = parse(readText('docs/prometheus/holdfast.rules.yml')).groups.flatMap(
  (group: { rules: Rule[] }) => group.rules,
);

/** The metrics of ours that an expression names. */
function metricsIn(expression: string): string[] {
  return [...expression.matchAll(/\bholdfast_\w+/g)].map(([name]) => name);
}

const entries = sections(readText('docs/alerts.md'), 2);

describe('docs/alerts.md', () => {
  it('has one entry for everything that alerts, and no other', () => {
    const own = ['alerts', 'test'];
    const known = [...healthChecks, ...Object.keys(events), ...own];
    const titles = entries.map(({ title }) => title);
    expect(titles.toSorted()).toEqual([...new Set(known)].toSorted());
  });

  it('says in each what it means, and what to type or to look at', () => {
    for (const { title, body } of entries.filter((entry) => entry.title !== 'test')) {
      expect(body, title).toMatch(/^\n[A-Z`]/);
      expect(body, title).toMatch(/^- /m);
    }
  });
});

describe('the rules for Prometheus', () => {
  it('use only metrics that exist', () => {
    const unknown = rules.flatMap(({ expr }) => metricsIn(expr)).filter((name) => !names.has(name));
    expect(unknown).toEqual([]);
    expect(rules.length).toBeGreaterThan(10);
  });

  it('each lead to an entry, and are each tested to fire and not to fire', () => {
    const tests: { alert_rule_test: { alertname: string; exp_alerts: unknown[] }[] }[] = parse(
      readText('docs/prometheus/holdfast.rules.test.yml'),
    ).tests;
    const cases = tests.flatMap(({ alert_rule_test: all }) => all);
    for (const { alert, annotations } of rules) {
      const [page, anchor = ''] = annotations.runbook.split('#');
      expect(page).toBe('docs/alerts.md');
      const isEntry = entries.some(({ title }) => title === anchor);
      expect(isEntry || anchor === '{{ $labels.check }}', annotations.runbook).toBe(true);
      const own = cases.filter(({ alertname }) => alertname === alert);
      const fires = (count: boolean) => own.some(({ exp_alerts: e }) => e.length > 0 === count);
      expect([fires(true), fires(false)], alert).toEqual([true, true]);
    }
  });
});

describe('the dashboard for Grafana', () => {
  const dashboard: {
    panels: { id: number; title: string; targets: { expr: string }[] }[];
    templating: { list: unknown[] };
  } = JSON.parse(readText('docs/prometheus/grafana_dashboard.json'));

  it('uses only metrics that exist, in panels with titles and numbers of their own', () => {
    const expressions = dashboard.panels.flatMap(({ targets }) => targets.map(({ expr }) => expr));
    const used = [...expressions, JSON.stringify(dashboard.templating)].flatMap(metricsIn);
    expect(used.filter((name) => !names.has(name))).toEqual([]);
    expect(expressions.every((expression) => metricsIn(expression).length > 0)).toBe(true);
    const { panels } = dashboard;
    expect(new Set(panels.map(({ id }) => id)).size).toBe(panels.length);
    expect(panels.every(({ title }) => title !== '')).toBe(true);
  });
});

describe('the metrics', () => {
  it('are those that the guide tells, with the same words', () => {
    const guide = sections(readText('docs/guides/monitoring.md'), 2);
    const rows = tableRows(guide.find(({ title }) => title === 'Prometheus')?.body ?? '');
    const told = rows.map(([name = '', , help]) => `${codeSpans(name)[0]}: ${help}`);
    expect(told).toEqual(metrics.map(({ name, help }) => `${name}: ${help}`));
  });

  it('are named as Prometheus wants them: prefix, lower case, base units, no counter', () => {
    for (const { name } of metrics) {
      expect(name).toMatch(/^holdfast_[a-z]+(?:_[a-z]+)*$/);
      expect(name).not.toMatch(/_(?:total|ms|milliseconds|minutes|hours|days|mb|gb|percent)$/);
    }
  });
});
