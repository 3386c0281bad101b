/** A repository in a private folder, a server, and the commands that work with both. */

import { execFile } from 'node:child_process';
import { chmod, mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import type { Manifest } from '../../src/core/manifest.ts';
import { findTool, type ToolName } from '../../src/postgres/tools.ts';
import { type TestCluster, testEnvironment } from './cluster.ts';
import { type CommandName, type Outcome, type RunOptions, runCommand } from './command.ts';

const execute = promisify(execFile);

/** A backup that was taken. */
export interface TakenBackup {
  readonly label: string;
  /** The path of its folder. */
  readonly folder: string;
  readonly manifest: Manifest;
  readonly outcome: Outcome;
}

export interface Workbench {
  /** A folder for whatever a test writes; everybody may enter it. */
  readonly folder: string;
  readonly repository: string;
  /** The whole environment of the commands: where the server and the repository are. */
  readonly environment: Readonly<Record<string, string>>;
  /** Runs a command; its environment is added to the workbench's. */
  run(name: CommandName, argv: readonly string[], options?: RunOptions): Promise<Outcome>;
  /** Takes a backup, which must succeed. */
  backUp(
    database: string,
    flags?: readonly string[],
    environment?: Readonly<Record<string, string>>,
  ): Promise<TakenBackup>;
  remove(): Promise<void>;
}

/** `"odd ""name"""` */
export function quoted(name: string): string {
  return `"${name.replaceAll('"', '""')}"`;
}

/** The same bytes but for one bit in their middle. */
export function flipped(bytes: Buffer): Buffer {
  const copy = Buffer.from(bytes);
  const middle = Math.floor(copy.length / 2);
  copy.writeUInt8(copy.readUInt8(middle) ^ 1, middle);
  return copy;
}

/** The one JSON document on stdout. */
export function jsonOf<T = Record<string, unknown>>(outcome: Outcome): T {
  return JSON.parse(outcome.stdout);
}

/** Opens a workbench on a cluster. @param settings more of the environment */
export async function openWorkbench(
  cluster: Pick<TestCluster, 'environment'>,
  settings: Readonly<Record<string, string>> = {},
): Promise<Workbench> {
  const folder = await mkdtemp(join(tmpdir(), 'holdfast-bench-'));
  await chmod(folder, 0o755);
  const repository = join(folder, 'repository');
  const environment = {
    ...cluster.environment(),
    BACKUP_DIR: repository,
    MIN_DISK_SPACE_GB: '0',
    ...settings,
  };

  async function run(
    name: CommandName,
    argv: readonly string[],
    options: RunOptions = {},
  ): Promise<Outcome> {
    const all = { ...environment, ...options.environment };
    return runCommand(name, argv, { ...options, environment: all });
  }

  return {
    folder,
    repository,
    environment,
    run,
    async backUp(database, flags = [], more = {}) {
      const argv = [database, '--json', ...flags];
      const outcome = await run('backup_full', argv, { environment: more });
      if (outcome.status !== 0) throw new Error(`the backup failed:\n${outcome.stderr}`);
      const { databases } = jsonOf<{ databases: { label: string; folder: string }[] }>(outcome);
      const [{ label, folder: key } = { label: '', folder: '' }] = databases;
      const taken = join(repository, key);
      const text = await readFile(join(taken, 'manifest.json'), 'utf8');
      return { label, folder: taken, manifest: JSON.parse(text), outcome };
    },
    remove: () => rm(folder, { recursive: true, force: true }),
  };
}

/** The stdout of one of PostgreSQL's own programs, run against a cluster. */
export async function programOutput(
  cluster: Pick<TestCluster, 'environment' | 'major'>,
  program: ToolName,
  args: readonly string[],
  environment: Readonly<Record<string, string>> = {},
): Promise<Buffer> {
  const { major: serverMajor } = cluster;
  const tool = await findTool({ program, serverMajor, environment: testEnvironment });
  const { stdout } = await execute(tool.path, args, {
    encoding: 'buffer',
    maxBuffer: 256 * 1024 * 1024,
    env: { ...testEnvironment, ...cluster.environment(), ...environment },
  });
  return stdout;
}
