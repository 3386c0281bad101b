/** scripts/backup_incremental.ts: from archiving that works to a point that can be recovered. */

import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type ArchivingBench, openArchivingBench } from '../support/archiving_bench.ts';
import { type Outcome, outcomeOf, spawnCommand } from '../support/command.ts';
import { jsonOf } from '../support/workbench.ts';

interface Moved {
  base: { label: string; kind: string } | null;
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

  it('is about a whole cluster: an operand is refused', async () => {
    expect((await move(['mastertrade'])).status).toBe(2);
  });
});
