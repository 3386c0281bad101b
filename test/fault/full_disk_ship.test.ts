/**
 * The disk of the archive is full while the helper stores WAL ahead: nothing half written stays, it
 * says so once, waits, and goes on by itself.
 *
 * A real full disk, so this needs root: it mounts small tmpfs file systems and unmounts them.
 */

import { randomBytes } from 'node:crypto';
import { mkdirSync, mkdtempSync, readdirSync, realpathSync, rmSync, writeFileSync } from 'node:fs';
import { hostname, tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, expect, it } from 'vitest';
import { openRepository } from '../../src/catalog/repository.ts';
import { segmentName } from '../../src/core/lsn.ts';
import { formatClaim } from '../../src/core/wal_claim.ts';
import { waitFor } from '../support/archiving_bench.ts';
import { runCommand, spawnCommand } from '../support/command.ts';
import { endHelper } from '../support/ship_scene.ts';
import { fillUp, freeBytesOf, mountSmall, unmountAll } from '../support/small_disk.ts';
import { sampleSystemIdentifier, segmentHeader } from '../support/wal_segment.ts';

const megabyte = 1024 * 1024;
const names = Array.from({ length: 6 }, (_, index) => segmentName(1, BigInt(index + 1), megabyte));
let folder: string;
let data: string;

/** A data directory in which segments wait that do not compress. */
beforeAll(() => {
  folder = realpathSync(mkdtempSync(join(tmpdir(), 'holdfast-full-ship-')));
  data = join(folder, 'data');
  mkdirSync(join(data, 'pg_wal', 'archive_status'), { recursive: true });
  for (const [index, name] of names.entries()) {
    const bytes = randomBytes(megabyte);
    segmentHeader({ number: BigInt(index + 1), segmentBytes: megabyte }).copy(bytes);
    writeFileSync(join(data, 'pg_wal', name), bytes);
    writeFileSync(join(data, 'pg_wal', 'archive_status', `${name}.ready`), '');
  }
});
afterEach(unmountAll);
afterAll(() => {
  unmountAll();
  rmSync(folder, { recursive: true });
});

async function openSmall() {
  const root = join(folder, 'repository');
  mountSmall(root, 32 * megabyte);
  await openRepository(root, { create: true, now: new Date() });
  const archive = join(root, 'incremental', 'main', 'wal');
  mkdirSync(archive, { recursive: true });
  const claim = {
    system_identifier: sampleSystemIdentifier.toString(),
    host: hostname(),
    data_directory: data,
    claimed_at: new Date().toISOString(),
    claim_id: 'small',
  };
  writeFileSync(join(archive, 'claim.json'), `${formatClaim(claim)}\n`);
  const stored = (suffix: string) =>
    readdirSync(archive, { recursive: true }).filter((name) => String(name).endsWith(suffix));
  return { root, stored, environment: { BACKUP_DIR: root } };
}

it('waits while it is full, and stores everything when there is room', async () => {
  const { root, stored, environment } = await openSmall();
  const free = fillUp(root, 2.5 * megabyte);
  const helper = spawnCommand('wal_ship', ['--jobs', '2'], { environment });
  helper.stdout.resume();
  await waitFor('it says so', async () => helper.stderrTail().includes('WAL waits'));
  await waitFor('nothing is under way', async () => stored('.partial').length === 0);
  expect(stored('.sha256')).toHaveLength(2);
  expect(freeBytesOf(root)).toBeLessThan(megabyte);
  free();
  await waitFor('all are stored', async () => stored('.sha256').length === names.length);
  expect(await endHelper(helper), helper.stderrTail()).toBe(0);
  expect(helper.stderrTail().match(/WAL waits.*no space left/g)).toHaveLength(1);
  expect(helper.stderrTail()).toContain('the archive takes WAL again');
  expect(stored('.zst')).toHaveLength(names.length);
  expect(stored('.partial')).toEqual([]);
});

it('once, ends with 3 and leaves nothing half written', async () => {
  const { root, stored, environment } = await openSmall();
  const free = fillUp(root, 1.5 * megabyte);
  const full = await runCommand('wal_ship', ['--once', '--json'], { environment });
  expect(full.status).toBe(3);
  expect(JSON.parse(full.stdout).error.code).toBe('NO_SPACE');
  expect(stored('.zst')).toHaveLength(1);
  expect(stored('.partial')).toEqual([]);
  free();
  const again = await runCommand('wal_ship', ['--once', '--json'], { environment });
  expect(JSON.parse(again.stdout)).toMatchObject({ stored: 5, already: 0, failures: [] });
});
