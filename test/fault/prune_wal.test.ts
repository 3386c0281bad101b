/**
 * Removing base backups and WAL, killed at any moment: what is left is whole, no WAL is missing
 * behind a base backup that is there, and the next prune ends what was begun.
 */

import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { baseFolder } from '../../src/catalog/base_catalog.ts';
import { walFolder } from '../../src/catalog/wal_archive.ts';
import { outcomeOf, runCommand, spawnCommand } from '../support/command.ts';
import { createChance, send, until } from '../support/fault.ts';
import {
  type IncrementalScene,
  nameOf,
  openIncrementalScene,
  sceneCluster,
} from '../support/incremental_scene.ts';

const chance = createChance();
const days = 80;
/** Of base backups; the last two are in the window and before it. */
const ages = [75, 61, 47, 33, 9, 2];
const segmentOf = (age: number) => days + 1 - age;

let scene: IncrementalScene;
let labels: string[];
beforeEach(async () => {
  scene = await openIncrementalScene(new Date());
  await scene.wal(1, days, days, 1);
  labels = [];
  for (const age of ages) labels.push(await scene.base(age, { segment: segmentOf(age) }));
});
afterEach(() => scene.close());

const environment = () => ({
  BACKUP_DIR: scene.repository.root,
  BACKUP_RETENTION_WEEKS: '1',
  BACKUP_RETENTION_MONTHS: '1',
});
const argv = ['--yes', '--force'];
const kept = Array.from({ length: 9 }, (_, place) => nameOf(segmentOf(9) + place));

function present(): { bases: string[]; segments: string[] } {
  const { root } = scene.repository;
  const bases = readdirSync(join(root, baseFolder(sceneCluster)));
  const files = readdirSync(join(root, walFolder(sceneCluster), '00000001'));
  return {
    bases: bases.filter((name) => !name.endsWith('.partial')).sort(),
    segments: files.filter((name) => name.endsWith('.zst')).map((name) => name.slice(0, -4)),
  };
}

async function run(name: 'prune_backups' | 'verify_backups' | 'list_backups', more: string[]) {
  const outcome = await runCommand(name, more, { environment: environment() });
  expect(outcome.status, outcome.stderr).toBe(0);
  return outcome;
}

async function expectEnd(told: string): Promise<void> {
  await run('prune_backups', argv);
  const end = present();
  expect(end, told).toEqual({ bases: labels.slice(-2), segments: kept });
  const { root, stateDir } = scene.repository;
  expect(readdirSync(join(root, baseFolder(sceneCluster))).sort(), told).toEqual(labels.slice(-2));
  const beside = readdirSync(join(root, walFolder(sceneCluster), '00000001'));
  const strays = beside.filter((name) => !kept.includes(name.replace(/\.(zst|sha256)$/, '')));
  // A digest whose segment went with the blow stays until it is sure that nobody is writing it.
  expect(
    strays.filter((name) => !name.endsWith('.sha256')),
    told,
  ).toEqual([]);
  expect(strays.length, told).toBeLessThanOrEqual(1);
  const records = readdirSync(join(stateDir, 'runs')).filter((name) => name.endsWith('.json'));
  expect(records, told).toEqual([]);
  const { stdout } = await run('prune_backups', ['--dry-run', '--json']);
  expect(JSON.parse(stdout), told).toMatchObject({ clusters: [{ bytes_to_free: 0 }] });
}

describe('kill -9 of a prune of base backups and WAL', () => {
  it.each(Array.from({ length: 4 }, (_, round) => round + 1))('round %i', async () => {
    const victim = spawnCommand('prune_backups', argv, { environment: environment() });
    let ended = false;
    const outcome = outcomeOf(victim).finally(() => {
      ended = true;
    });
    // While base backups go, or anywhere in the WAL.
    const total = ages.length + days;
    const blowAt = Math.floor(chance.between(2 + kept.length, total));
    const left = () => present().bases.length + present().segments.length;
    await until('the removal', () => ended || left() <= blowAt, 60_000);
    send(victim.pid, 'SIGKILL');
    await outcome;
    const told = `HOLDFAST_FAULT_SEED=${chance.seed}, at ${blowAt} of ${total}`;

    const { bases, segments } = present();
    // The oldest WAL goes first, and only when all base backups that go are gone.
    const first = segments[0] ?? '';
    const all = Array.from({ length: days }, (_, place) => nameOf(place + 1));
    expect(segments, told).toEqual(all.slice(all.indexOf(first)));
    for (const [place, age] of ages.entries()) {
      if (!bases.includes(labels[place] ?? '')) continue;
      expect(segments.includes(nameOf(segmentOf(age))), told).toBe(true);
    }
    expect(bases, told).toEqual(expect.arrayContaining(labels.slice(-2)));
    await run('verify_backups', ['--wal']);
    const { stdout } = await run('list_backups', ['--json']);
    const listed: { base_backups: { state: string }[] } = JSON.parse(stdout);
    for (const { state } of listed.base_backups) expect(state, told).toBe('complete');
    await expectEnd(told);
  });

  it('two at once, of which one is killed: the next one ends it', async () => {
    const start = () => spawnCommand('prune_backups', argv, { environment: environment() });
    const [first, second] = [start(), start()];
    const outcomes = Promise.all([outcomeOf(first), outcomeOf(second)]);
    await until('the first removal', () => present().bases.length < ages.length, 60_000);
    send(first.pid, 'SIGKILL');
    const [, { status, stderr }] = await outcomes;
    expect(status, stderr).toBe(0);
    await expectEnd(`HOLDFAST_FAULT_SEED=${chance.seed}`);
  });
});
