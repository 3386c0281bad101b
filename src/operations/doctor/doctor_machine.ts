/** What the doctor looks at on this machine: Node, the compressor, temporary files, programs. */

import { access, constants, stat } from 'node:fs/promises';
import type { Finding } from '../../core/doctor.ts';
import { formatBytes } from '../../core/units.ts';
import { findTool, type ToolName } from '../../postgres/tools.ts';
import { freeBytesAt } from '../../process/file_facts.ts';
import { findProgram } from '../../process/find_program.ts';
import type { Context } from '../context.ts';
import { attempt, finding } from './doctor_finding.ts';

/** As package.json's `engines` says. */
const nodeMajorMin = 24;

function nodeFinding(): Finding {
  const { node } = process.versions;
  const about = { check: 'node', subject: '' } as const;
  if (Number.parseInt(node, 10) >= nodeMajorMin) return finding(about, 'ok', `Node ${node}`);
  return finding(
    about,
    'problem',
    `Node ${node} is older than ${nodeMajorMin}`,
    'sh scripts/bootstrap.sh',
  );
}

/** The programs that compress, by the setting; without one Node's own zlib does it. */
const compressors = { zstd: ['zstd'], gzip: ['pigz', 'gzip'] } as const;

async function compressorFinding(context: Context): Promise<Finding> {
  const { compression, threads } = context.config.settings;
  const about = { check: 'compressor', subject: compression } as const;
  if (compression === 'none') return finding(about, 'ok', 'backups are not compressed');
  const programs = compressors[compression];
  for (const program of programs) {
    const path = await findProgram(program, context.environment);
    if (path !== null) return finding(about, 'ok', `${path}, up to ${threads} threads`);
  }
  const [program] = programs;
  return finding(
    about,
    'note',
    `no program ${program} on PATH: Node compresses with one thread, and restore.sh, which needs ` +
      'no Holdfast, needs it',
    `apt-get install ${program}`,
  );
}

async function temporaryFindings(context: Context): Promise<readonly Finding[]> {
  const { temp_dir: folder, restore_jobs: jobs } = context.config.settings;
  const about = { check: 'temporary', subject: folder } as const;
  // One job reads the dump as a stream: only several need the folder.
  const level = jobs > 1 ? 'problem' : 'warning';
  const mend = 'Set TMPDIR to a folder that this user may write.';
  try {
    if (!(await stat(folder)).isDirectory()) return [finding(about, level, 'is no folder', mend)];
    await access(folder, constants.W_OK | constants.X_OK);
  } catch (error) {
    const message = `restores with --jobs cannot use it: ${(error as Error).message}`;
    return [finding(about, level, message, mend)];
  }
  const free = await freeBytesAt(folder);
  return [finding(about, 'ok', free === null ? 'can be written' : `${formatBytes(free)} free`)];
}

/** What does not depend on any server. */
export async function examineMachine(context: Context): Promise<Finding[]> {
  const { temp_dir: folder } = context.config.settings;
  return [
    nodeFinding(),
    await compressorFinding(context),
    ...(await attempt(context, { check: 'temporary', subject: folder }, () =>
      temporaryFindings(context),
    )),
  ];
}

/** What a backup, a restore and restore.sh call. */
const programs: readonly ToolName[] = ['pg_dump', 'pg_dumpall', 'pg_restore', 'psql'];

/**
 * The client programs for servers of a major version.
 *
 * @param serverMajor `null`: no server answered, so any version is looked for
 */
export async function examinePrograms(
  context: Context,
  serverMajor: number | null,
): Promise<Finding[]> {
  const subject = serverMajor === null ? '' : `PostgreSQL ${serverMajor}`;
  const about = { check: 'programs', subject } as const;
  const found: string[] = [];
  const findings: Finding[] = [];
  for (const program of programs) {
    findings.push(
      ...(await attempt(context, about, async () => {
        const tool = await findTool({
          program,
          serverMajor: serverMajor ?? undefined,
          environment: context.environment,
          pgBinDir: context.config.settings.pg_bin_dir,
          signal: context.signal,
        });
        found.push(`${program} ${tool.version}`);
        if (serverMajor === null || tool.major === serverMajor) return [];
        const fact = `${tool.path} is of version ${tool.major}, newer than the server`;
        const message = `${fact}: what it dumps may not restore into ${serverMajor}`;
        return [finding(about, 'note', message)];
      })),
    );
  }
  if (found.length > 0) findings.unshift(finding(about, 'ok', found.join(', ')));
  return findings;
}
