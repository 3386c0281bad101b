import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { createCatalog } from '../../../../src/catalog/catalog.ts';
import { openRepository } from '../../../../src/catalog/repository.ts';
import { HoldfastError } from '../../../../src/core/errors.ts';
import type { HealthFinding } from '../../../../src/core/health.ts';
import { monitor, type Watched } from '../../../../src/operations/monitor/monitor.ts';
import type {
  BareMonitorContext,
  CheckGroup,
} from '../../../../src/operations/monitor/monitor_context.ts';
import { sampleFinding } from '../../../support/health_findings.ts';
import { sampleContext, writeSampleBackup } from '../../../support/sample_backup.ts';

let root: string;
beforeEach(async () => {
  root = await mkdtemp(join(tmpdir(), 'holdfast-monitor-'));
});
afterEach(() => rm(root, { recursive: true }));

async function watched(): Promise<Watched & { problem: null }> {
  const now = new Date('2026-11-21T12:00:00.000Z');
  const repository = await openRepository(root, { create: true, now });
  const context = sampleContext(repository, createCatalog(repository.storage));
  return { context, problem: null };
}

const good: CheckGroup = {
  name: 'the good ones',
  checks: ['archiver'],
  needs: 'nothing',
  run: async () => [sampleFinding()],
};

function failing(
  run: (monitor: BareMonitorContext) => Promise<readonly HealthFinding[]>,
  name = 'the bad ones',
): CheckGroup {
  return { name, checks: ['slots', 'clock'], needs: 'nothing', run };
}

async function levels(all: Watched, groups: readonly CheckGroup[], secondsMax?: number) {
  const limit = secondsMax === undefined ? {} : { secondsMax };
  const { report } = await monitor(all, { isQuick: true, groups, ...limit });
  return report.findings.map(({ check, level, message }) => ({ check, level, message }));
}

describe('the groups of checks', () => {
  it('hide nothing from each other: one that fails tells all its checks as unknown', async () => {
    const bad = failing(() => Promise.reject(new Error('what is this')));
    const told = await levels(await watched(), [bad, good]);
    expect(told).toMatchObject([
      { check: 'archiver', level: 'ok' },
      { check: 'slots', level: 'unknown', message: 'it cannot be told: what is this' },
      { check: 'clock', level: 'unknown' },
    ]);
  });

  it('are given up when they take too long, also one that looks at no signal', async () => {
    const hangs = failing(
      ({ context }) =>
        new Promise((_, reject) => {
          context.signal.addEventListener('abort', () => reject(new Error('broken off')));
        }),
      'a server that hangs',
    );
    const deaf = failing(() => new Promise(() => undefined));
    const told = await levels(await watched(), [hangs, deaf, good], 0.05);
    expect(told.map(({ level }) => level)).toEqual(['ok', ...Array(4).fill('unknown')]);
    expect(told.at(1)).toMatchObject({
      check: 'slots',
      level: 'unknown',
      message: 'it cannot be told: the check of a server that hangs took more than 0.05 s',
    });
  });

  it('end with the run when somebody interrupts it', async () => {
    const all = await watched();
    const signal = AbortSignal.abort(new HoldfastError('INTERRUPTED', 'interrupted by SIGTERM'));
    const interrupted: Watched = { context: { ...all.context, signal }, problem: null };
    const bad = failing(() => Promise.reject(new Error('broken')));
    await expect(levels(interrupted, [bad])).rejects.toThrow('interrupted by SIGTERM');
  });

  it('tell no password that a message quotes', async () => {
    const finding = sampleFinding({ message: 'postgresql://app:secret@db1/shop does not answer' });
    const told = await levels(await watched(), [{ ...good, run: async () => [finding] }]);
    expect(told[0]?.message).not.toContain('secret');
  });
});

describe('without a repository', () => {
  it('that is critical, and what needs none is checked all the same', async () => {
    const { context } = await watched();
    const problem = new HoldfastError('BACKUP_NOT_FOUND', 'there is no repository in /backup', {
      hint: 'Mount it.',
    });
    const { config } = context;
    const settings = { ...config.settings, backup_dir: '/backup' };
    const bare: Watched = { context: { ...context, config: { ...config, settings } }, problem };
    const catalog: CheckGroup = { ...good, needs: 'repository', checks: ['integrity', 'count'] };
    const { report, unasked } = await monitor(bare, { isQuick: true, groups: [catalog, good] });
    expect(unasked).toEqual(['integrity', 'count']);
    expect(report.status).toBe('critical');
    expect(report.findings).toMatchObject([
      { check: 'archiver', level: 'ok' },
      {
        check: 'repository',
        subject: '/backup',
        level: 'critical',
        found: 'there is no repository in /backup',
        mend: 'Mount it.',
      },
    ]);
  });
});

describe('the listing', () => {
  it('is read once for all who ask, with what lies in each store', async () => {
    const all = await watched();
    const { context } = all;
    await writeSampleBackup(context.repository.storage);
    let reads = 0;
    const { storage } = context.repository;
    const counted = {
      ...context.repository,
      storage: new Proxy(storage, {
        get(target, name) {
          if (name === 'unfinishedFolders') reads += 1;
          const value = Reflect.get(target, name);
          return typeof value === 'function' ? value.bind(target) : value;
        },
      }),
    };
    const looks: number[] = [];
    const group: CheckGroup = {
      name: 'lists',
      checks: ['count'],
      needs: 'repository',
      run: async ({ listing }) => {
        for (const store of await listing()) {
          if (store.error === null) looks.push(store.full.backups.length);
        }
        return [];
      },
    };
    const seen: Watched = { context: { ...context, repository: counted }, problem: null };
    await monitor(seen, { isQuick: true, groups: [group, group, group] });
    expect({ looks, reads }).toEqual({ looks: [1, 1, 1], reads: 1 });
  });

  it('tells of a store that cannot be read why, and goes on with the others', async () => {
    const { context } = await watched();
    const [local] = context.repository.stores;
    const spec = { ...local.spec, name: 'nas' };
    const open = () => Promise.reject(new HoldfastError('STORE_UNREACHABLE', 'nas is away'));
    const stores = [local, { spec, open }] as const;
    const repository = { ...context.repository, stores };
    let told: unknown;
    const group: CheckGroup = {
      name: 'lists',
      checks: ['count'],
      needs: 'repository',
      run: async ({ listing }) => {
        told = (await listing()).map(({ store, error }) => [store.spec.name, error?.message]);
        return [];
      },
    };
    await monitor(
      { context: { ...context, repository }, problem: null },
      { isQuick: true, groups: [group] },
    );
    expect(told).toEqual([
      ['local', undefined],
      ['nas', 'nas is away'],
    ]);
  });
});
