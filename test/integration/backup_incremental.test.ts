/** scripts/backup_incremental.ts: from archiving that works to a point that can be recovered. */

import { readdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type ArchivingBench, openArchivingBench } from '../support/archiving_bench.ts';
import { type Outcome, outcomeOf, spawnCommand } from '../support/command.ts';
import { jsonOf } from '../support/workbench.ts';

interface Moved {
  base: {
    label: string;
    kind: string;
    parent: string | null;
    full_instead: string | null;
  } | null;
  warnings: string[];
  segment: string;
  newest_recoverable_at: string;
  gaps: object[];
}

let bench: ArchivingBench;
beforeAll(async () => {
  bench = await openArchivingBench({ archive_mode: 'on', wal_level: 'replica' });
});
afterAll(() => bench.close());

async function move(argv: readonly string[] = []): Promise<Outcome> {
  const { environment } = bench;
  return outcomeOf(spawnCommand('backup_incremental', [...argv, '--json'], { environment }));
}

/** All base backups were taken so many days earlier, as their manifests tell it. */
async function ageBy(folder: string, days: number): Promise<void> {
  for (const label of await readdir(folder)) {
    const path = join(folder, label, 'manifest.json');
    const manifest = JSON.parse(await readFile(path, 'utf8'));
    const at = new Date(Date.parse(manifest.started_at) - days * 86_400_000);
    await writeFile(path, JSON.stringify({ ...manifest, started_at: at.toISOString() }));
  }
}

describe('the recovery point', () => {
  it('does not move while nothing is archived: status 3, and what to type', async () => {
    const outcome = await move();
    expect(outcome.status).toBe(3);
    expect(outcome.stderr).toContain('scripts/setup_archiving.ts');
  });

  it('moves, with a base backup when one is due, also on an idle server', async () => {
    const installed = await bench.setup(['install', '--yes']);
    expect(installed.status, installed.stderr).toBe(0);
    const before = Date.now();
    const first = await move();
    expect(first.status, first.stderr).toBe(0);
    const moved = jsonOf<Moved>(first);
    expect(moved.base?.kind).toBe('base');
    expect(moved.gaps).toEqual([]);
    expect(Date.parse(moved.newest_recoverable_at)).toBeGreaterThan(before);
    const second = jsonOf<Moved>(await move());
    expect(second.base).toBeNull();
    expect(second.segment > moved.segment).toBe(true);
    expect(second.newest_recoverable_at > moved.newest_recoverable_at).toBe(true);
    expect(jsonOf<Moved>(await move(['--base', 'now'])).base?.kind).toBe('base');
  });

  it('moves each day with an incremental base backup where the server can (17+)', async () => {
    const folder = join(bench.archive, '../base');
    const [last = ''] = (await readdir(folder)).sort().slice(-1);
    const isIncremental = bench.cluster.major >= 17;
    if (isIncremental) {
      await bench.cluster.sql(['ALTER SYSTEM SET summarize_wal = off', 'SELECT pg_reload_conf()']);
    }
    await ageBy(folder, 2);
    const without = jsonOf<Moved>(await move());
    expect(without.base).toBeNull();
    expect(without.warnings.join().includes('summarize_wal is off')).toBe(isIncremental);
    if (isIncremental) {
      await bench.cluster.sql(['ALTER SYSTEM SET summarize_wal = on', 'SELECT pg_reload_conf()']);
    }
    const moved = jsonOf<Moved>(await move());
    const taken = { kind: 'incr', parent: last, full_instead: null };
    if (isIncremental) expect(moved.base).toMatchObject(taken);
    else expect(moved.base).toBeNull();
    expect(moved.warnings).toEqual([]);
    expect(jsonOf<Moved>(await move()).base).toBeNull();
    // After a week a whole one is due, however young the last increment is.
    await ageBy(folder, 7);
    const week = jsonOf<Moved>(await move());
    expect(week.base).toMatchObject({ kind: 'base', parent: null, full_instead: null });
  });

  it('is about a whole cluster: an operand is refused', async () => {
    expect((await move(['mastertrade'])).status).toBe(2);
  });
});
