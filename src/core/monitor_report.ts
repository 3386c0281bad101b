/** What one run of the monitor gives: the document of `--json`. Pure. */

import {
  type HealthFinding,
  type HealthLevel,
  healthChecks,
  healthStatus,
  worstLevel,
} from './health.ts';
import { type Static, Type } from './type_builder.ts';
import { documentReader } from './validate.ts';

/** The version of the document. */
const monitorFormat = 1;

const closed = { additionalProperties: false } as const;
const Text = Type.String({ minLength: 1 });
const NullableText = Type.Union([Text, Type.Null()]);

const Level = Type.Union([
  Type.Literal('ok'),
  Type.Literal('warning'),
  Type.Literal('critical'),
  Type.Literal('unknown'),
]);

const Check = Type.Union(healthChecks.map((check) => Type.Literal(check)));

const Finding = Type.Object(
  {
    check: Check,
    subject: Type.String(),
    cluster: NullableText,
    database: NullableText,
    level: Level,
    message: Text,
    expected: Text,
    found: Text,
    since: NullableText,
    mend: NullableText,
    values: Type.Record(Type.String(), Type.Number()),
    /** Checks that could not be made because of it. */
    silences: Type.Optional(Type.Array(Check)),
  },
  closed,
);

/** How far back one database or cluster can be recovered now. */
const RecoverablePoint = Type.Object(
  {
    cluster: NullableText,
    /** `null`: the whole cluster. */
    database: NullableText,
    /** Work since then would be lost; `null`: nothing can be recovered, or nobody can tell. */
    age_seconds: Type.Union([Type.Number(), Type.Null()]),
    /** ISO 8601, UTC. */
    at: NullableText,
    level: Level,
  },
  closed,
);

/** What became of the alerts of a run that sends them. */
const Alerts = Type.Object(
  {
    made: Type.Integer({ minimum: 0 }),
    delivered: Type.Integer({ minimum: 0 }),
    waiting: Type.Integer({ minimum: 0 }),
    failures: Type.Array(Type.Object({ channel: Text, code: Text, message: Text }, closed)),
  },
  closed,
);

/** The schema of a report, as docs/schemas/monitor.schema.json publishes it. */
const monitorSchema = Type.Object(
  {
    format: Type.Literal(monitorFormat),
    host: Text,
    /** ISO 8601, UTC. */
    checked_at: Text,
    status: Level,
    /** What the command ends with: 0 ok, 1 warning, 2 critical, 3 unknown. */
    exit_status: Type.Integer({ minimum: 0, maximum: 3 }),
    /** The newest recoverable point of each database and cluster, the oldest first. */
    headline: Type.Array(RecoverablePoint),
    /** The worst last. */
    findings: Type.Array(Finding),
    /** Only of a run that sends alerts. */
    alerts: Type.Optional(Alerts),
  },
  closed,
);

/** What one run of the monitor has found. */
export interface MonitorReport {
  readonly format: typeof monitorFormat;
  readonly host: string;
  readonly checked_at: string;
  readonly status: HealthLevel;
  readonly exit_status: (typeof healthStatus)[HealthLevel];
  readonly headline: readonly RecoverablePoint[];
  readonly findings: readonly HealthFinding[];
}

/** One line of the headline. */
export type RecoverablePoint = Static<typeof RecoverablePoint>;

/**
 * Reads a report.
 *
 * @throws HoldfastError DAMAGED
 */
export const parseMonitorReport = documentReader(monitorSchema, {
  name: 'a report of the monitor',
  format: monitorFormat,
  code: 'DAMAGED',
});

const gravity: readonly HealthLevel[] = ['ok', 'unknown', 'warning', 'critical'];

/** The order in which findings are told: the worst last, where eyes are. */
export function inOrderOfGravity(findings: readonly HealthFinding[]): HealthFinding[] {
  const rank = ({ level }: HealthFinding) => gravity.indexOf(level);
  const place = ({ check }: HealthFinding) => healthChecks.indexOf(check);
  return findings.toSorted(
    (a, b) => rank(a) - rank(b) || place(a) - place(b) || (a.subject < b.subject ? -1 : 1),
  );
}

/** The finding that says how old the newest full backup of a database is. */
const fullCheck = 'backup_age';
/** The finding that says how old the newest point is that the WAL of a cluster leads to. */
const walCheck = 'recovery_point';

/** The point that one finding tells, by its `age_seconds`. */
function pointOf(finding: HealthFinding, checkedAt: Date): RecoverablePoint {
  const { cluster, database, level, values } = finding;
  const age = values.age_seconds ?? null;
  const at = age === null ? null : new Date(checkedAt.getTime() - age * 1000).toISOString();
  return { cluster, database, age_seconds: age, at, level };
}

/**
 * The headline: of each database the age of the newest point that it can be brought back to, by its
 * last full backup or by the WAL of its cluster; of each cluster that by its WAL.
 */
export function headlineOf(
  findings: readonly HealthFinding[],
  checkedAt: Date,
): RecoverablePoint[] {
  const of = (check: string) =>
    findings.filter((each) => each.check === check).map((each) => pointOf(each, checkedAt));
  const byWal = of(walCheck);
  const clusters = byWal.filter(({ cluster, database }) => cluster !== null && database === null);
  const databases = of(fullCheck).filter(({ database }) => database !== null);
  const newest = databases.map((point) => {
    const wal = clusters.find(({ cluster }) => cluster === point.cluster);
    if (wal === undefined || wal.age_seconds === null) return point;
    const isYounger = point.age_seconds === null || wal.age_seconds < point.age_seconds;
    return isYounger ? { ...point, age_seconds: wal.age_seconds, at: wal.at } : point;
  });
  const age = ({ age_seconds: seconds }: RecoverablePoint) => seconds ?? Number.MAX_VALUE;
  const name = ({ cluster, database }: RecoverablePoint) => JSON.stringify([cluster, database]);
  return [...clusters, ...newest].sort((a, b) => age(b) - age(a) || (name(a) < name(b) ? -1 : 1));
}

/** JSON has no infinity, and neither has a graph: what is no number is left out. */
function withNumbers(finding: HealthFinding): HealthFinding {
  const known = Object.entries(finding.values).filter(([, value]) => Number.isFinite(value));
  return { ...finding, values: Object.fromEntries(known) };
}

/** Puts a report together. */
export function monitorReport(
  host: string,
  checkedAt: Date,
  found: readonly HealthFinding[],
): MonitorReport {
  const findings = found.map(withNumbers);
  const status = worstLevel(findings.map(({ level }) => level));
  return {
    format: monitorFormat,
    host,
    checked_at: checkedAt.toISOString(),
    status,
    exit_status: healthStatus[status],
    headline: headlineOf(findings, checkedAt),
    findings: inOrderOfGravity(findings),
  };
}

/** The text of docs/schemas/monitor.schema.json: the same schema as JSON Schema (draft 7). */
export function monitorSchemaText(): string {
  const dialect = { $schema: 'http://json-schema.org/draft-07/schema#' };
  return `${JSON.stringify({ ...dialect, ...monitorSchema }, null, 2)}\n`;
}
