/** What the doctor looks at in one database: connection, pooler, rights, locks. */

import type { Client } from 'pg';
import { type Finding, neededLocksPerTransaction } from '../../core/doctor.ts';
import { shownIdentifier } from '../../core/quote.ts';
import { formatCount } from '../../core/units.ts';
import {
  type Connected,
  type ConnectionParameters,
  connect,
  describeServer,
  type ResolvedTarget,
} from '../../postgres/connection.ts';
import { readServerFacts, type ServerFacts } from '../../postgres/facts.ts';
import { detectPooler } from '../../postgres/pooler.ts';
import { findMissingReadPrivileges, type MissingKind } from '../../postgres/privileges.ts';
import { readRestorePrivileges } from '../../postgres/restore_privileges.ts';
import { readLockNeed } from '../../postgres/server_health.ts';
import type { Context } from '../context.ts';
import { openDatabase } from '../open_database.ts';
import { attempt, deadline, failureFinding, finding, untilAborted } from './doctor_finding.ts';
import type { RepositoryFacts } from './doctor_repository.ts';
import { examineServer } from './doctor_server.ts';
import { examinePasswordFile } from './doctor_settings.ts';
import { examineSpace, type SpaceNeed } from './doctor_space.ts';

/** No attempt to connect may take longer, whatever the settings allow. */
const connectSeconds = 15;
/** All questions to one database together. */
const questionsSeconds = 120;
/** How many objects are told one by one. */
const namedMax = 10;

/** What was found out about one database. */
export interface DatabaseReport {
  readonly findings: readonly Finding[];
  /** About its server: the same from each of its databases. */
  readonly serverFindings: readonly Finding[];
  /** `null` where the server could not be asked. */
  readonly server: ServerFacts | null;
  readonly need: SpaceNeed | null;
}

/** With a time-out where the settings allow to wait for ever. */
function bounded(target: ResolvedTarget): ResolvedTarget {
  const limit = ({ connectTimeoutSeconds: given, ...rest }: ConnectionParameters) => ({
    ...rest,
    connectTimeoutSeconds: given === 0 ? connectSeconds : Math.min(given, connectSeconds),
  });
  const [first, ...others] = target.candidates;
  return { ...target, candidates: [limit(first), ...others.map(limit)] };
}

/** What a role cannot do with an object, in words. */
function whatIsMissing(kind: MissingKind, object: string): string {
  if (kind === 'row security') return `cannot dump ${object}: row security hides rows from it`;
  return `may not read ${kind} ${kind === 'large objects' ? `(${object})` : object}`;
}

/** What the role cannot read: each object, and where there are many, one GRANT for the rest. */
async function readFindings(client: Client, subject: string): Promise<Finding[]> {
  const about = { check: 'read', subject } as const;
  const { role, missing } = await findMissingReadPrivileges(client);
  const who = shownIdentifier(role);
  if (missing.length === 0) return [finding(about, 'ok', `role ${who} may read everything`)];
  const isAlone = (kind: string) => kind === 'row security' || kind === 'large objects';
  const special = missing.filter(({ kind }) => isAlone(kind));
  const plain = missing.filter(({ kind }) => !isAlone(kind));
  const told = [...plain.slice(0, namedMax), ...special.slice(0, namedMax)];
  const findings = told.map(({ kind, object, mend }) => {
    const what = whatIsMissing(kind, object);
    return finding(about, 'problem', `role ${who} ${what}`, mend);
  });
  const rest = plain.length - namedMax;
  if (rest > 0) {
    const message = `role ${who} may not read ${formatCount(rest, 'more object')} (or even more)`;
    findings.push(finding(about, 'problem', message, `GRANT pg_read_all_data TO ${who};`));
  }
  return findings;
}

/** What a restore as this role would stop at: a warning, since another role may do it. */
async function restoreFindings(client: Client, subject: string): Promise<Finding[]> {
  const about = { check: 'restore', subject } as const;
  const { role, lacks, readsPasswords } = await readRestorePrivileges(client);
  const who = shownIdentifier(role);
  const findings = lacks.map(({ fact, mend }) =>
    finding(about, 'warning', `to restore: role ${who} ${fact}`, mend),
  );
  if (lacks.length === 0) findings.push(finding(about, 'ok', `role ${who} may restore it`));
  if (!readsPasswords) {
    const message = `backups hold no passwords of roles: role ${who} may not read them`;
    // Each database has this right for itself; pg_dumpall connects to the one that is dumped.
    const mend = `GRANT SELECT ON pg_catalog.pg_authid TO ${who};`;
    findings.push(finding({ check: 'read', subject }, 'warning', message, mend));
  }
  return findings;
}

async function lockFindings(client: Client, subject: string): Promise<Finding[]> {
  const about = { check: 'server', subject } as const;
  const { table, tables } = await readLockNeed(client);
  const needed = neededLocksPerTransaction(tables, table);
  if (needed === null) {
    return [
      finding(about, 'ok', `${formatCount(tables, 'table')}: the lock table is large enough`),
    ];
  }
  const message =
    `a dump locks ${formatCount(tables, 'table')} at once, and the server's lock table ` +
    'may be too small for that';
  const mend = `ALTER SYSTEM SET max_locks_per_transaction = ${needed}; -- then restart the server`;
  return [finding(about, 'warning', message, mend)];
}

async function poolerFindings(
  context: Context,
  { client, parameters }: Connected,
  subject: string,
): Promise<Finding[]> {
  const about = { check: 'pooler', subject } as const;
  const signs = await detectPooler(client, () =>
    connect(parameters, {
      applicationName: 'holdfast doctor',
      signal: deadline(context, connectSeconds, 'a second session, which backups need too,'),
    }),
  );
  if (!signs.isThere) return [finding(about, 'ok', 'no pooler: the server itself answers')];
  const { serverAddress, serverPort } = signs;
  const mend =
    'Name the server itself (PGHOST, PGPORT, or the entry under databases): ' +
    `${serverAddress === null ? 'its socket' : serverAddress}, port ${serverPort}.`;
  const server = describeServer(parameters);
  return signs.sharesProcesses
    ? [
        finding(
          about,
          'problem',
          `a connection pooler that shares sessions answers at ${server}: settings of a session ` +
            'get lost in it, so that a dump or restore may fail or differ',
          mend,
        ),
      ]
    : [
        finding(
          about,
          'warning',
          `a connection pooler answers at ${server}: it may cut long sessions`,
          mend,
        ),
      ];
}

/** The connection: to whom, as whom, and with which password. */
function connectedFinding(parameters: ConnectionParameters, subject: string): Finding {
  const { user, passwordFrom } = parameters;
  const from = passwordFrom === null ? '' : `, password from ${passwordFrom}`;
  const where = `connected to ${describeServer(parameters)}`;
  const message = `${where} as role ${shownIdentifier(user)}${from}`;
  return finding({ check: 'connection', subject }, 'ok', message);
}

/** Collects what is found while the questions go on; what is there counts if the time is over. */
class Examination {
  readonly findings: Finding[] = [];
  readonly serverFindings: Finding[] = [];
  server: ServerFacts | null = null;
  need: SpaceNeed | null = null;
  readonly #context: Context;
  readonly #repository: RepositoryFacts;
  readonly #subject: string;

  constructor(context: Context, repository: RepositoryFacts, subject: string) {
    this.#context = context;
    this.#repository = repository;
    this.#subject = subject;
  }

  async #add(check: Finding['check'], work: () => Promise<readonly Finding[]>): Promise<void> {
    const about = { check, subject: this.#subject };
    this.findings.push(...(await attempt(this.#context, about, work)));
  }

  async ask(connected: Connected): Promise<void> {
    const { client, parameters } = connected;
    const subject = this.#subject;
    this.findings.push(connectedFinding(parameters, subject));
    await this.#add('pooler', () => poolerFindings(this.#context, connected, subject));
    await this.#add('read', () => readFindings(client, subject));
    await this.#add('restore', () => restoreFindings(client, subject));
    await this.#add('server', () => lockFindings(client, subject));
    await this.#add('server', async () => {
      const server = await readServerFacts(client);
      this.server = server;
      const { findings, need } = await examineSpace(
        this.#context,
        connected,
        { server, repository: this.#repository },
        subject,
      );
      this.need = need;
      return findings;
    });
    if (this.server !== null) {
      const place = describeServer(parameters);
      this.serverFindings.push(...(await examineServer(this.#context, client, this.server, place)));
    }
  }
}

/**
 * Looks at one database, in a bounded time. A server that is not there, or that refuses, is a
 * finding.
 *
 * @param subject how the database is called in the findings
 * @throws HoldfastError INTERRUPTED
 */
export async function examineDatabase(
  context: Context,
  target: ResolvedTarget,
  repository: RepositoryFacts,
  subject: string,
): Promise<DatabaseReport> {
  const about = { check: 'connection', subject } as const;
  const examination = new Examination(context, repository, subject);
  for (const file of new Set(target.candidates.map(({ passfile }) => passfile))) {
    examination.findings.push(...(await examinePasswordFile(file)));
  }
  try {
    const seconds = connectSeconds * target.candidates.length;
    const signal = deadline(context, seconds, `connecting to ${subject}`);
    const opened = openDatabase({ ...context, signal }, bounded(target), 'holdfast doctor');
    const connected = await untilAborted(opened, signal);
    try {
      const late = deadline(context, questionsSeconds, `asking ${subject}`);
      await untilAborted(examination.ask(connected), late);
    } finally {
      await connected.client.end();
    }
  } catch (thrown) {
    if (context.signal.aborted) throw context.signal.reason;
    examination.findings.push(failureFinding(about, thrown));
  }
  const { findings, serverFindings, server, need } = examination;
  return { findings, serverFindings, server, need };
}
