/**
 * Measures Holdfast beside PostgreSQL's own programs on a generated database (docs/performance.md):
 * `npm run bench -- [--rounds 3] [--scale 1] [--output FILE]
 * [--markdown FILE] [group…]`.
 */

import { writeFile } from 'node:fs/promises';
import { cpus, release, tmpdir, totalmem } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { HoldfastError } from '../src/core/errors.ts';
import { formatBytes } from '../src/core/units.ts';
import { backupGroup } from './backup.ts';
import { baseGroup, baseRestoreGroup } from './base.ts';
import { listGroup } from './list.ts';
import { memoryGroup } from './memory.ts';
import { replayGroup } from './replay.ts';
import { describeGroup, type GroupResult, goalRows, markdownOf, rowsOf } from './report.ts';
import { restoreGroup } from './restore.ts';
import { type Group, runGroup } from './run_group.ts';
import { openScene, type Scene } from './scene.ts';
import { startGroup } from './start.ts';
import { storeBackupGroup, storeRestoreGroup } from './stores.ts';
import { walGroup } from './wal.ts';

interface GroupKind {
  readonly needsDatabase: boolean;
  /** One group, or several that are measured one after the other. */
  readonly open: readonly ((scene: Scene, scale: number) => Promise<Group>)[];
}

const groups: Readonly<Record<string, GroupKind>> = {
  start: { needsDatabase: false, open: [startGroup] },
  list: { needsDatabase: false, open: [listGroup] },
  backup: { needsDatabase: true, open: [async (scene) => backupGroup(scene)] },
  restore: { needsDatabase: true, open: [restoreGroup] },
  memory: { needsDatabase: true, open: [memoryGroup] },
  wal: { needsDatabase: false, open: [walGroup] },
  replay: { needsDatabase: false, open: [replayGroup] },
  base: { needsDatabase: true, open: [baseGroup, baseRestoreGroup] },
  stores: { needsDatabase: true, open: [storeBackupGroup, storeRestoreGroup] },
};

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    rounds: { type: 'string', default: '3' },
    scale: { type: 'string', default: '1' },
    markdown: { type: 'string' },
    output: { type: 'string', default: join(tmpdir(), 'holdfast-bench.json') },
  },
});

/** @throws HoldfastError USAGE when it is no number that makes sense */
function positive(name: string, text: string): number {
  const value = Number(text);
  if (value > 0 && Number.isFinite(value)) return value;
  throw new HoldfastError('USAGE', `--${name} takes a number above 0, not ${JSON.stringify(text)}`);
}

/** What the numbers depend on besides the code. */
function machine(scene: Scene): Readonly<Record<string, string | number>> {
  const [first] = cpus();
  return {
    processors: cpus().length,
    processor: first?.model ?? 'unknown',
    memory_bytes: totalmem(),
    system: `${process.platform} ${release()}`,
    node: process.version,
    postgresql: scene.cluster.major,
  };
}

const tell = (text: string) => void process.stderr.write(`${text}\n`);

/** Measures the groups, tells each when it is done, and writes all of it into a file. */
async function measureGroups(
  scene: Scene,
  names: readonly string[],
  rounds: number,
  scale: number,
): Promise<void> {
  const kinds = names.map((name) => groups[name]).filter((kind) => kind !== undefined);
  if (kinds.some(({ needsDatabase }) => needsDatabase)) await scene.generate('bench', scale);
  const results: GroupResult[] = [];
  for (const open of kinds.flatMap((kind) => kind.open)) {
    const group = await open(scene, scale);
    try {
      const result = await runGroup(scene, group, rounds, tell);
      results.push(result);
      process.stdout.write(`\n${describeGroup(result)}`);
    } finally {
      await group.close?.();
    }
  }
  const about = machine(scene);
  const document = {
    machine: about,
    scale,
    rounds,
    groups: results.map((result) => ({
      ...result,
      medians: rowsOf(result),
      aimed: goalRows(result),
    })),
  };
  await writeFile(values.output, `${JSON.stringify(document, null, 2)}\n`);
  if (values.markdown !== undefined) {
    await writeFile(values.markdown, results.map(markdownOf).join('\n'));
  }
  const memory = formatBytes(totalmem());
  process.stdout.write(
    `\n${about.processors} × ${about.processor}, ${memory}, ${about.system}, Node ${about.node}, ` +
      `PostgreSQL ${about.postgresql}; scale ${scale}, medians of ${rounds}\n${values.output}\n`,
  );
}

/** @throws HoldfastError USAGE for a group that is none; whatever fails while it is measured */
async function main(): Promise<void> {
  const names = positionals.length === 0 ? ['start', 'list', 'backup', 'restore'] : positionals;
  const unknown = names.find((name) => groups[name] === undefined);
  if (unknown !== undefined) {
    const known = Object.keys(groups).join(', ');
    throw new HoldfastError('USAGE', `${JSON.stringify(unknown)} is no group: ${known}`);
  }
  const rounds = Math.ceil(positive('rounds', values.rounds));
  const scale = positive('scale', values.scale);
  const stop = new AbortController();
  for (const signal of ['SIGINT', 'SIGTERM'] as const) {
    process.once(signal, () => stop.abort(new HoldfastError('INTERRUPTED', 'interrupted')));
  }
  const scene = await openScene(stop.signal, tell);
  try {
    await measureGroups(scene, names, rounds, scale);
  } finally {
    await scene.close();
  }
}

await main();
