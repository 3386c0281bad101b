/** What the tests of the worst day share: victims, seeded chance, and what must hold afterwards. */

import { randomInt, randomUUID } from 'node:crypto';
import { chmod, mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { expect } from 'vitest';
import { startTestCluster, type TestCluster } from './cluster.ts';
import {
  type CommandName,
  type Outcome,
  outcomeOf,
  type RunOptions,
  runCommand,
  spawnCommand,
} from './command.ts';

/** Numbers from 0 up to 1 that a seed repeats (mulberry32). */
export interface Chance {
  readonly seed: number;
  next(): number;
  between(low: number, high: number): number;
}

/** HOLDFAST_FAULT_SEED repeats a run that failed; every failure prints its seed. */
export function createChance(): Chance {
  const given = process.env.HOLDFAST_FAULT_SEED;
  const seed = given === undefined ? randomInt(2 ** 31) : Number(given);
  let state = seed;
  function next(): number {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  }
  return { seed, next, between: (low, high) => low + (high - low) * next() };
}

/** A process that belongs to a victim. */
export interface MarkedProcess {
  readonly pid: number;
  /** The program's name: `pg_dump`, `zstd`. */
  readonly name: string;
  /** It only tells its version. */
  readonly isProbe: boolean;
}

const everyPid = async () => (await readdir('/proc')).filter((name) => /^\d+$/.test(name));

/** The children of a process; all processes where the kernel does not tell. */
async function childPids(pid: number | undefined): Promise<readonly string[]> {
  const path = `/proc/${pid}/task/${pid}/children`;
  const text = await readFile(path, 'latin1').catch(() => null);
  return text === null ? everyPid() : text.split(' ').filter((name) => name !== '');
}

/** Those living processes whose environment carries the mark: a command and its children. */
async function markedProcesses(mark: string, pids: readonly string[]): Promise<MarkedProcess[]> {
  const found = await Promise.all(
    pids.map(async (pid): Promise<MarkedProcess[]> => {
      const environment = await readFile(`/proc/${pid}/environ`, 'latin1').catch(() => '');
      if (!environment.includes(`TERM=${mark}\0`)) return [];
      const stat = await readFile(`/proc/${pid}/stat`, 'latin1').catch(() => '');
      const name = stat.slice(stat.indexOf('(') + 1, stat.lastIndexOf(')'));
      if (name === '' || /\) [ZX] /.test(stat)) return [];
      const argv = await readFile(`/proc/${pid}/cmdline`, 'latin1').catch(() => '');
      // Empty: it has ended meanwhile.
      if (argv === '') return [];
      return [{ pid: Number(pid), name, isProbe: argv.includes('--version') }];
    }),
  );
  return found.flat();
}

/** Waits for something that surely comes; says what it was when it does not. */
export async function until<T>(
  what: string,
  look: () => T | null | Promise<T | null>,
  timeoutMs = 90_000,
): Promise<T> {
  const deadlineMs = performance.now() + timeoutMs;
  for (let pauseMs = 2; ; pauseMs = Math.min(pauseMs + 0.1, 10)) {
    const seen = await look();
    if (seen !== null && seen !== false) return seen;
    if (performance.now() > deadlineMs) throw new Error(`${what}: not within ${timeoutMs} ms`);
    // Most looks ask a server or the kernel, which has its work to do meanwhile.
    await sleep(pauseMs);
  }
}

/** Sends a signal; `false` when the process is gone. */
export function send(pid: number | undefined, signal: NodeJS.Signals): boolean {
  try {
    return pid !== undefined && process.kill(pid, signal);
  } catch {
    return false;
  }
}

/** A command that runs as a program of its own, to be hit. */
export interface Victim {
  readonly pid: number | undefined;
  readonly outcome: Promise<Outcome>;
  /** Whether it has ended by itself or by a blow. */
  ended(): boolean;
  stderr(): string;
  /** Waits for a child with that name; `null` when the victim ends before. */
  child(name: string): Promise<MarkedProcess | null>;
  /** Fails unless every one of its processes goes away. */
  expectGone(): Promise<void>;
}

/** One line of `list_backups.ts --json`. */
export interface ListedBackup {
  readonly label: string;
  readonly folder: string;
  readonly state: string;
  readonly problem: unknown;
}

export interface Listing {
  readonly backups: readonly ListedBackup[];
  readonly unfinished: readonly { readonly folder: string }[];
}

/** A server, a repository, and the commands that work on both. */
export interface Scene {
  readonly cluster: TestCluster;
  readonly folder: string;
  readonly repository: string;
  run(name: CommandName, argv: readonly string[], options?: RunOptions): Promise<Outcome>;
  start(
    name: CommandName,
    argv: readonly string[],
    environment?: Readonly<Record<string, string>>,
  ): Victim;
  list(): Promise<Listing>;
  /** Waits until the server takes connections; starts it where its postmaster was killed. */
  serverUp(): Promise<void>;
  close(): Promise<void>;
}

/** The database that is backed up and restored: data, an index, a setting and a comment. */
export async function fillShop(
  cluster: TestCluster,
  rows: number,
  { exists = false }: { readonly exists?: boolean } = {},
): Promise<void> {
  if (!exists) await cluster.sql('CREATE DATABASE shop');
  await cluster.sql(
    [
      'CREATE TABLE orders AS SELECT i AS id, md5(i::text) || md5((i * 7)::text) AS text ' +
        `FROM generate_series(1, ${rows}) AS i`,
      'CREATE UNIQUE INDEX orders_id ON orders (id)',
      'CREATE INDEX orders_text ON orders (text)',
      "CREATE TABLE state AS SELECT 'as backed up' AS state",
      "COMMENT ON DATABASE shop IS 'the shop''s own comment'",
      'ALTER DATABASE shop SET work_mem = 5432',
    ],
    'shop',
  );
}

/** All that makes the database whole: every row, both indexes, what the database carries itself. */
export async function fingerprint(cluster: TestCluster, database = 'shop'): Promise<string> {
  const [row] = await cluster.sql(
    `SELECT (SELECT count(*) FROM orders) AS rows,
            (SELECT sum(hashtext(text)) FROM orders) AS sum,
            (SELECT count(*) FROM pg_index WHERE indisvalid AND indexrelid::regclass::text
              IN ('orders_id', 'orders_text')) AS indexes,
            (SELECT string_agg(state, ',') FROM state) AS state,
            (SELECT shobj_description(oid, 'pg_database') FROM pg_database
              WHERE datname = current_database()) AS comment,
            current_setting('work_mem') AS setting`,
    database,
  );
  return JSON.stringify(row);
}

/** Starts a command as a program, whose processes all carry a mark of their own. */
function startVictim(
  name: CommandName,
  argv: readonly string[],
  environment: Readonly<Record<string, string>>,
): Victim {
  const mark = `holdfast-${randomUUID()}`;
  const child = spawnCommand(name, argv, { environment: { ...environment, TERM: mark } });
  let ended = false;
  const outcome = outcomeOf(child).finally(() => {
    ended = true;
  });
  return {
    pid: child.pid,
    outcome,
    ended: () => ended,
    stderr: () => child.stderrTail(),
    async child(wanted) {
      const found = await until(`a child ${wanted}`, async () => {
        if (ended) return 'ended';
        const processes = await markedProcesses(mark, await childPids(child.pid));
        return processes.find((each) => each.name === wanted && !each.isProbe) ?? null;
      });
      return found === 'ended' ? null : found;
    },
    async expectGone() {
      await outcome;
      await until('the end of every child', async () => {
        return (await markedProcesses(mark, await everyPid())).length === 0 ? true : null;
      });
    },
  };
}

/** Starts the server where its postmaster was killed, and waits until it takes connections. */
async function bringUp(cluster: TestCluster): Promise<void> {
  const runs = await cluster.pid().catch(() => null);
  if (runs === null) await cluster.restart();
  await until('the server takes connections', () =>
    cluster.sql('SELECT 1').then(
      () => true,
      () => null,
    ),
  );
}

/** Opens a scene on a fresh cluster. */
export async function openScene(server: { readonly tcp?: boolean } = {}): Promise<Scene> {
  const cluster = await startTestCluster(server);
  const folder = await mkdtemp(join(tmpdir(), 'holdfast-fault-'));
  await chmod(folder, 0o755);
  const repository = join(folder, 'repository');
  const environment = {
    ...cluster.environment(),
    BACKUP_DIR: repository,
    MIN_DISK_SPACE_GB: '0',
  };
  const victims: Victim[] = [];

  const run: Scene['run'] = (name, argv, options = {}) =>
    runCommand(name, argv, {
      ...options,
      environment: { ...environment, ...options.environment },
    });

  return {
    cluster,
    folder,
    repository,
    run,
    start(name, argv, more = {}) {
      const victim = startVictim(name, argv, { ...environment, ...more });
      victims.push(victim);
      return victim;
    },
    serverUp: () => bringUp(cluster),
    async list() {
      const outcome = await run('list_backups', ['--json']);
      expect(outcome.status, outcome.stderr).toBe(0);
      return JSON.parse(outcome.stdout);
    },
    async close() {
      for (const victim of victims) if (!victim.ended()) send(victim.pid, 'SIGKILL');
      await Promise.all(victims.map((victim) => victim.expectGone()));
      await cluster.stop({ immediate: true });
      await rm(folder, { recursive: true, force: true });
    },
  };
}

/** The numbers of so many rounds, from 1 on. */
export const rounds = (count: number): number[] =>
  Array.from({ length: count }, (_, number) => number + 1);

/** What is hit again and again, and what must hold after each time. */
export interface BlowsOptions {
  readonly scene: Scene;
  readonly chance: Chance;
  readonly command: CommandName;
  readonly argv: readonly string[];
  /** What must hold after a run, however it ended. @param told the blow, for failures */
  readonly expectWhole: (victim: Victim, told: string) => Promise<unknown>;
  /** The next run has nothing to mend by hand before it. */
  readonly expectNext: (told: string) => Promise<void>;
}

/** Blows at one command. */
export interface Blows {
  /** How long a whole run takes here, from its start. */
  durationMs(): number;
  /** How many rounds ended before the blow came. */
  missed(): number;
  /** One round: a run, a blow, the look around, the next run. @param blow tells the moment */
  round(
    what: string,
    blow: (victim: Victim) => Promise<string>,
    flags?: readonly string[],
  ): Promise<void>;
  /** Waits for a part of a whole run's time. @returns it in words */
  waitPart(low: number, high: number): Promise<string>;
}

/** Lets the command run once without a blow, for the time that it takes. */
export async function startBlows(options: BlowsOptions): Promise<Blows> {
  const { scene, chance, command, argv } = options;
  let missed = 0;
  const started = performance.now();
  const first = await scene.start(command, argv).outcome;
  let durationMs = performance.now() - started;
  expect(first.status, first.stderr).toBe(0);
  return {
    durationMs: () => durationMs,
    missed: () => missed,
    async round(what, blow, flags = []) {
      const victim = scene.start(command, [...argv, ...flags]);
      const moment = await blow(victim);
      const told = `${what} at ${moment} (HOLDFAST_FAULT_SEED=${chance.seed})`;
      if ((await victim.outcome).status === 0) {
        missed += 1;
        // The machine is faster than it was when the time was taken.
        durationMs *= 0.85;
      }
      await options.expectWhole(victim, told);
      await options.expectNext(told);
    },
    async waitPart(low, high) {
      const ms = durationMs * chance.between(low, high);
      await sleep(ms);
      return `${Math.round(ms)} of ${Math.round(durationMs)} ms`;
    },
  };
}

/** Kills a backend of the server, by chance one of those that `where` selects. @returns which */
export async function killBackend(scene: Scene, chance: Chance, where: string): Promise<string> {
  const sessions = await scene.cluster.sql(
    `SELECT pid, application_name AS name FROM pg_stat_activity WHERE ${where}`,
  );
  const session = sessions[Math.floor(chance.between(0, sessions.length))];
  send(session?.pid as number | undefined, 'SIGKILL');
  return `${sessions.length} sessions, ${session?.name}`;
}
