/** Lets the server's own archiver archive segments, and times each as the archiver sees it. */

import { watch } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { HoldfastError } from '../src/core/errors.ts';
import { median } from './report.ts';
import type { Measured } from './run_group.ts';
import { makeReady, type WalScene } from './wal_scene.ts';

/** So long nothing may be archived before that is a failure. */
const silenceMsMax = 60_000;
const lookMs = 200;

/**
 * Makes all segments ready at once and waits until the archiver has called the archive_command
 * with each and renamed `.ready` to `.done`. The kernel tells of each renaming (inotify): nothing
 * stands between the archiver and its command.
 *
 * @returns the time until the last, and the median of the times between two
 * @throws HoldfastError CHILD_FAILED with the end of the server's log
 */
export async function archiveAll(scene: WalScene): Promise<Measured> {
  const { physical, segments, statusFolder } = scene;
  const doneAt = new Map<string, number>();
  await makeReady(scene);
  const watcher = watch(statusFolder, (_event, name) => {
    if (name?.endsWith('.done') !== true || doneAt.has(name)) return;
    doneAt.set(name, performance.now());
  });
  try {
    // A reload wakes the archiver, which otherwise looks once a minute.
    const started = performance.now();
    await physical.sql('SELECT pg_reload_conf()');
    const names = segments.map((name) => `${name}.done`);
    let known = 0;
    let changed = started;
    while (names.some((name) => !doneAt.has(name))) {
      await sleep(lookMs);
      if (doneAt.size !== known) changed = performance.now();
      known = doneAt.size;
      if (performance.now() - changed < silenceMsMax) continue;
      const log = (await physical.cluster.logTail()).split('\n').slice(-8).join('; ');
      throw new HoldfastError('CHILD_FAILED', `nothing is archived any more: ${log}`);
    }
    const times = [started, ...names.map((name) => doneAt.get(name) ?? Number.NaN)];
    const each = times.slice(1).map((at, index) => (at - (times[index] ?? at)) / 1000);
    return { wall: ((times.at(-1) ?? started) - started) / 1000, each: median(each) };
  } finally {
    watcher.close();
  }
}
