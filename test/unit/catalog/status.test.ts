import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { readStatus, updateStatus } from '../../../src/catalog/status.ts';
import { failureOf } from '../../contract/storage.ts';

let root: string;
beforeEach(async () => {
  root = await mkdtemp(join(tmpdir(), 'holdfast-status-'));
});
afterEach(() => rm(root, { recursive: true, force: true }));

const server = 'db.example.com:5432';
const now = new Date('2026-11-21T03:00:00.000Z');
const times = { started_at: '2026-11-21T02:00:00.000Z', finished_at: '2026-11-21T02:01:00.000Z' };
const ok = { ...times, status: 'ok' as const, exit_status: 0, label: 'L1' };
const failed = {
  ...times,
  status: 'failed' as const,
  exit_status: 8,
  error: { code: 'DATABASE_UNREACHABLE', message: 'connection refused' },
};
const success = {
  label: 'L1',
  finished_at: times.finished_at,
  bytes_stored: 10,
  database_bytes: 100,
  duration_seconds: 60,
};

describe('status.json', () => {
  it('keeps the last success while runs fail', async () => {
    expect(await readStatus(root)).toBeNull();
    await updateStatus(root, { cluster: 'main', database: 'shop', server, run: ok, success }, now);
    await updateStatus(root, { cluster: 'main', database: 'shop', server, run: failed }, now);
    await updateStatus(root, { cluster: 'main', database: 'app', server, run: failed }, now);
    expect(await readStatus(root)).toEqual({
      format: 1,
      updated_at: now.toISOString(),
      databases: [
        { cluster: 'main', database: 'app', server, last_run: failed, last_success: null },
        { cluster: 'main', database: 'shop', server, last_run: failed, last_success: success },
      ],
    });
  });

  it('learns the cluster of a database with its first success', async () => {
    const database = 'shop';
    await updateStatus(root, { cluster: 'unknown', database, server, run: failed }, now);
    await updateStatus(root, { cluster: 'main', database, server, run: ok, success }, now);
    expect((await readStatus(root))?.databases).toEqual([
      { cluster: 'main', database, server, last_run: ok, last_success: success },
    ]);
  });

  it('keeps databases of one name on two servers apart, also while no cluster is known', async () => {
    const [cluster, database] = ['unknown', 'app'];
    const other = 'other.example.com:5432';
    await updateStatus(root, { cluster, database, server, run: failed }, now);
    await updateStatus(root, { cluster, database, server: other, run: failed }, now);
    await updateStatus(root, { cluster: 'main', database, server, run: ok, success }, now);
    expect((await readStatus(root))?.databases).toEqual([
      { cluster: 'main', database, server, last_run: ok, last_success: success },
      { cluster, database, server: other, last_run: failed, last_success: null },
    ]);
  });

  it('loses no change when many are made at the same time', async () => {
    const names = Array.from({ length: 12 }, (_, index) => `db${index}`).sort();
    await Promise.all(
      names.map((database) =>
        updateStatus(root, { cluster: 'c', database, server, run: ok, success }, now),
      ),
    );
    const status = await readStatus(root);
    expect(status?.databases.map(({ database }) => database)).toEqual(names);
  });

  it('is told as damaged, and begins anew with the next run', async () => {
    await writeFile(join(root, 'status.json'), '{"format": 1, "databases": 3}');
    expect((await failureOf(readStatus(root))).code).toBe('DAMAGED');
    await updateStatus(root, { cluster: 'c', database: 'd', server, run: ok, success }, now);
    expect((await readStatus(root))?.databases).toHaveLength(1);
    expect((await readFile(join(root, 'status.json'), 'utf8')).endsWith('}\n')).toBe(true);
  });
});
