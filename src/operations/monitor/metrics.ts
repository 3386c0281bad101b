/** What the monitor has found as metrics, for node_exporter's textfile collector. */

import { dirname } from 'node:path';
import { Gauge, Registry } from 'prom-client';
import type { KnownJob } from '../../catalog/jobs.ts';
import { HoldfastError, toHoldfastError } from '../../core/errors.ts';
import { type HealthFinding, healthStatus } from '../../core/health.ts';
import {
  type HealthMetric,
  healthMetrics,
  type MetricLabel,
  runMetrics,
} from '../../core/health_metrics.ts';
import type { MonitorReport } from '../../core/monitor_report.ts';
import { errorNumber, replaceFile } from '../../process/durable.ts';

/** node_exporter runs as a user of its own. */
const metricsMode = 0o644;
/** The collector reads what ends so, and nothing else. */
const metricsSuffix = '.prom';

/** What metrics are made of. */
export interface MetricFacts {
  readonly report: MonitorReport;
  readonly jobs: readonly KnownJob[];
  /** How long the run has taken. */
  readonly durationSeconds: number;
  readonly version: string;
}

interface Series {
  readonly labels: Partial<Record<MetricLabel, string>>;
  readonly value: number;
}

/**
 * A metric with its series; of those with the same labels the first counts. Without any it is left
 * out: it would be told as 0.
 */
function gauge(registry: Registry, name: string, help: string, series: readonly Series[]): void {
  if (series.length === 0) return;
  const labelNames = [...new Set(series.flatMap(({ labels }) => Object.keys(labels)))];
  const made = new Gauge({ name, help, labelNames, registers: [registry] });
  const seen = new Set<string>();
  for (const { labels, value } of series) {
    const key = JSON.stringify(labels);
    if (seen.has(key)) continue;
    seen.add(key);
    made.set(labels, value);
  }
}

function labelsOf({ labels }: HealthMetric, finding: HealthFinding): Series['labels'] {
  const { cluster, database, subject } = finding;
  const all = { cluster: cluster ?? '', database: database ?? '', subject };
  return Object.fromEntries(labels.map((label) => [label, all[label]]));
}

/** The series of one metric, out of the findings that have its number. */
function seriesOf(metric: HealthMetric, findings: readonly HealthFinding[]): Series[] {
  return findings.flatMap((finding) => {
    const value = finding.check === metric.check ? finding.values[metric.value] : undefined;
    return value === undefined ? [] : [{ labels: labelsOf(metric, finding), value }];
  });
}

function seconds(time: string): number {
  return Date.parse(time) / 1000;
}

function jobGauges(registry: Registry, jobs: readonly KnownJob[]): void {
  const tell = (
    { name, help }: { readonly name: string; readonly help: string },
    numberOf: (job: KnownJob) => number | null,
  ) => {
    const series = jobs.flatMap((job): Series[] => {
      const value = numberOf(job);
      return value === null ? [] : [{ labels: { scheduled_job: job.record.job }, value }];
    });
    gauge(registry, name, help, series);
  };
  const { jobSuccess, jobStatus, jobDuration, jobDied } = runMetrics;
  tell(jobSuccess, ({ record: { last_success_at: at } }) => (at === null ? null : seconds(at)));
  tell(jobStatus, ({ record }) => record.exit_status);
  tell(jobDuration, ({ record: { started_at: start, finished_at: end } }) =>
    end === null ? null : seconds(end) - seconds(start),
  );
  tell(jobDied, ({ state }) => (state === 'dead' ? 1 : 0));
}

function runGauges(registry: Registry, { report, durationSeconds, version }: MetricFacts): void {
  const { checkStatus, monitorStatus, lastRun, duration, build } = runMetrics;
  const statuses = report.findings.map(({ check, subject, level }) => {
    return { labels: { check, subject }, value: healthStatus[level] };
  });
  const single = (value: number, labels: Series['labels'] = {}) => [{ labels, value }];
  for (const [{ name, help }, series] of [
    [checkStatus, statuses],
    [monitorStatus, single(healthStatus[report.status])],
    [lastRun, single(seconds(report.checked_at))],
    [duration, single(durationSeconds)],
    [build, single(1, { version })],
  ] as const) {
    gauge(registry, name, help, series);
  }
}

function registryOf(facts: MetricFacts): Registry {
  const registry = new Registry();
  runGauges(registry, facts);
  for (const metric of healthMetrics) {
    const { name, help } = metric;
    gauge(registry, name, help, seriesOf(metric, facts.report.findings));
  }
  jobGauges(registry, facts.jobs);
  return registry;
}

/** The metrics as text (Prometheus' "Text-based format"). */
export function metricsText(facts: MetricFacts): Promise<string> {
  return registryOf(facts).metrics();
}

/**
 * The name of a metrics file, checked before anything else is done.
 *
 * @throws HoldfastError CONFIG_INVALID where node_exporter would not read it
 */
export function requireMetricsName(path: string): string {
  if (path.endsWith(metricsSuffix)) return path;
  throw new HoldfastError(
    'CONFIG_INVALID',
    `the metrics file ${JSON.stringify(path)} does not end in ${metricsSuffix}`,
    { hint: `node_exporter reads only what ends in ${metricsSuffix}: name it holdfast.prom.` },
  );
}

/**
 * Writes the metrics whole or not at all; what is not finished does not end in `.prom`.
 *
 * @throws HoldfastError NO_SPACE, STORE_REFUSED
 */
export async function writeMetrics(path: string, facts: MetricFacts): Promise<void> {
  try {
    await replaceFile(path, Buffer.from(await metricsText(facts)), metricsMode);
  } catch (error) {
    if (errorNumber(error) === 'ENOENT') {
      throw new HoldfastError('STORE_REFUSED', `no metrics: there is no folder ${dirname(path)}`, {
        hint: 'Make it, writable by the user that owns the repository, or mend PROMETHEUS_FILE.',
      });
    }
    throw toHoldfastError(error, `writing the metrics ${path}`);
  }
}
