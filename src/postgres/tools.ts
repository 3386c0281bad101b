/** Finds PostgreSQL's client programs on this machine, and chooses one by its version. */

import { access, constants, readdir, readFile, realpath } from 'node:fs/promises';
import { basename, delimiter, dirname, isAbsolute, join } from 'node:path';
import { HoldfastError } from '../core/errors.ts';
import { runCommand } from '../process/run.ts';
import { describePackage } from './tool_package.ts';

/** The programs that are looked for. */
export type ToolName =
  | 'initdb'
  | 'pg_basebackup'
  | 'pg_ctl'
  | 'pg_dump'
  | 'pg_dumpall'
  | 'pg_receivewal'
  | 'pg_restore'
  | 'pg_waldump'
  | 'pgbench'
  | 'psql';

/** Those that come with the server's package. */
const serverTools: ReadonlySet<ToolName> = new Set(['initdb', 'pg_ctl', 'pg_waldump']);

/** One program of one version. */
export interface Tool {
  readonly path: string;
  /** As the program tells it, e.g. `15.18`, `18beta1`. */
  readonly version: string;
  readonly major: number;
  /** The folder of its siblings. */
  readonly directory: string;
}

/** Which version is wanted. */
export interface ToolWish {
  /** The major version to take where it is installed: the server's own. */
  readonly serverMajor?: number | undefined;
  /**
   * None older than this, `serverMajor` unless told. pg_dump refuses a newer server; pg_restore
   * has to be as new as the pg_dump that wrote the archive.
   */
  readonly minimumMajor?: number | undefined;
}

/** What is looked for, and where. */
export interface FindToolsOptions extends ToolWish {
  readonly program: ToolName;
  readonly environment: Readonly<Record<string, string>>;
  /** The setting `pg_bin_dir`: then no other folder is looked into. */
  readonly pgBinDir?: string | null | undefined;
  readonly signal?: AbortSignal | undefined;
  /** Where the system's folders begin: `/`; another one in tests. */
  readonly root?: string;
}

/** Where packages put the programs; `*` stands for one component of the path or a part of it. */
const systemFolders = [
  '/usr/lib/postgresql/*/bin',
  '/usr/pgsql-*/bin',
  '/opt/homebrew/opt/postgresql@*/bin',
  '/opt/homebrew/opt/libpq/bin',
  '/usr/local/opt/postgresql@*/bin',
  '/usr/local/opt/libpq/bin',
  '/Applications/Postgres.app/Contents/Versions/*/bin',
] as const;

/**
 * The version in the answer to `--version`, or `null`: `pg_dump (PostgreSQL) 15.18 (Debian …)`,
 * `18beta1`, `16devel`.
 */
export function parseToolVersion(answer: string): { version: string; major: number } | null {
  const match = /\(PostgreSQL\) ((\d+)[A-Za-z0-9.]*)/.exec(answer);
  const [, version, major] = match ?? [];
  return version === undefined || major === undefined ? null : { version, major: Number(major) };
}

/** By the numbers in a version: `15.9` before `15.18`, `18beta1` before `18.0`. */
function compareVersions(a: Tool, b: Tool): number {
  const weight = (tool: Tool) => Number(/^\d+\.(\d+)/.exec(tool.version)?.[1] ?? -1);
  return a.major - b.major || weight(a) - weight(b);
}

/**
 * Chooses a program: of the server's own major version where there is one, else the lowest that is
 * new enough, and of that major version the newest release. Without a wish: the newest of all.
 *
 * @returns `null` when none is new enough
 */
export function chooseTool(candidates: readonly Tool[], wish: ToolWish): Tool | null {
  const { serverMajor } = wish;
  const minimumMajor = wish.minimumMajor ?? serverMajor ?? 0;
  const fitting = candidates.filter((tool) => tool.major >= minimumMajor).sort(compareVersions);
  if (serverMajor === undefined && wish.minimumMajor === undefined) return fitting.at(-1) ?? null;
  const major = fitting.some((tool) => tool.major === serverMajor)
    ? serverMajor
    : fitting[0]?.major;
  return fitting.findLast((tool) => tool.major === major) ?? null;
}

/** The folders that a pattern with `*` stands for. */
async function expandFolder(pattern: string, root: string): Promise<string[]> {
  const star = pattern.split('/').findIndex((part) => part.includes('*'));
  if (star === -1) return [join(root, pattern)];
  const parts = pattern.split('/');
  const parent = join(root, ...parts.slice(0, star));
  const [before = '', after = ''] = (parts[star] ?? '').split('*');
  const names = await readdir(parent).catch(() => []);
  return names
    .filter((name) => name.startsWith(before) && name.endsWith(after))
    .map((name) => join(parent, name, ...parts.slice(star + 1)));
}

/**
 * The real file behind a path, or `null` where there is no program. Debian's `/usr/bin/pg_dump` is
 * pg_wrapper, which takes the version of some local cluster and not the one that is wanted.
 */
async function realProgram(path: string): Promise<string | null> {
  try {
    await access(path, constants.X_OK);
    const real = await realpath(path);
    return basename(real) === 'pg_wrapper' ? null : real;
  } catch {
    return null;
  }
}

/** All programs of that name on this machine, each once. */
export async function listTools(options: FindToolsOptions): Promise<Tool[]> {
  const { program, environment, signal, root = '/' } = options;
  const folders =
    options.pgBinDir == null
      ? [
          ...(await Promise.all(systemFolders.map((each) => expandFolder(each, root)))).flat(),
          ...(environment.PATH ?? '').split(delimiter).filter((folder) => isAbsolute(folder)),
        ]
      : [options.pgBinDir];
  const paths = await Promise.all(folders.map((folder) => realProgram(join(folder, program))));
  const found = [...new Set(paths)].filter((path) => path !== null);
  const tools = await Promise.all(
    found.map(async (path): Promise<Tool | null> => {
      const answer = await runCommand(path, ['--version'], { environment, signal });
      const version = answer.status === 0 ? parseToolVersion(answer.stdout) : null;
      return version === null ? null : { path, directory: dirname(path), ...version };
    }),
  );
  return tools.filter((tool) => tool !== null);
}

/** What the operating system calls itself, for the name of the package in a hint. */
async function readOsRelease(root: string): Promise<string> {
  return readFile(join(root, 'etc/os-release'), 'utf8').catch(() => '');
}

/**
 * Finds the client program that fits a server or an archive.
 *
 * @throws HoldfastError TOOL_TOO_OLD; PROGRAM_MISSING where any version would do and there is none,
 * the hint names the package; CONFIG_INVALID where pg_bin_dir holds none
 */
export async function findTool(options: FindToolsOptions): Promise<Tool> {
  const candidates = await listTools(options);
  const tool = chooseTool(candidates, options);
  if (tool !== null) return tool;
  const { program, pgBinDir, root = '/' } = options;
  if (pgBinDir != null && candidates.length === 0) {
    throw new HoldfastError(
      'CONFIG_INVALID',
      `pg_bin_dir (PG_BIN_DIR): ${pgBinDir} holds no ${program} that runs`,
      { hint: 'Name the folder that holds the programs, or leave it out and they are searched.' },
    );
  }
  const wanted = options.minimumMajor ?? options.serverMajor;
  const place = pgBinDir == null ? 'on this machine' : `in ${pgBinDir} (setting pg_bin_dir)`;
  const os = await readOsRelease(root);
  const kind = serverTools.has(program) ? 'server' : 'client';
  const mend = describePackage({ os, platform: process.platform, kind, major: wanted ?? null });
  const hint = pgBinDir == null ? mend : `Correct or unset pg_bin_dir; else: ${mend}`;
  if (wanted === undefined) {
    throw new HoldfastError('PROGRAM_MISSING', `${program} is not to be found ${place}`, { hint });
  }
  if (candidates.length === 0) {
    const message = `${program} ${wanted} or newer is needed, and there is none ${place}`;
    throw new HoldfastError('TOOL_TOO_OLD', message, { hint });
  }
  const found = candidates.map((each) => `${each.version} (${each.path})`).join(', ');
  throw new HoldfastError(
    'TOOL_TOO_OLD',
    `${program} ${wanted} or newer is needed, and the newest ${place} is too old: found ${found}`,
    { hint, details: { program, minimum_major: wanted, found: candidates } },
  );
}
