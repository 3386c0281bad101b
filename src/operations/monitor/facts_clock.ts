/** Gathers how far this machine's clock is from those of stores, and backups of the future. */

import type { HealthFinding } from '../../core/health.ts';
import { checkClock, checkDates, fileSkewSeconds } from '../../core/health_clock.ts';
import { parseBaseLabel, parseLabel } from '../../core/label.ts';
import { manifestName } from '../../core/manifest.ts';
import { fileSystemAt } from '../../process/file_facts.ts';
import type { ReadableListing } from './facts_backups.ts';
import { type CheckGroup, type MonitorContext, unknownFinding } from './monitor_context.ts';

/** What a store tells of its clock comes to the second. */
const storeSeconds = 1;

/** How far the clock of a store is ahead, in seconds; `null`: it has ours, or tells none. */
async function storeAhead({ now }: MonitorContext, listing: ReadableListing) {
  const { spec } = listing.store;
  const { storage } = listing.view.repository;
  if (spec.kind === 's3') {
    const oursAheadMs = (await storage.clockAheadMs?.()) ?? null;
    if (oursAheadMs === null) return null;
    const ahead = -oursAheadMs / 1000;
    return Math.sign(ahead) * Math.max(0, Math.abs(ahead) - storeSeconds);
  }
  const disk = await fileSystemAt(spec.path);
  if (disk?.isRemote !== true) return null;
  // Nothing is written to find it out: what was written last tells it.
  const last = listing.full.backups.findLast(({ state }) => state === 'complete');
  if (last === undefined || last.details === null) return null;
  const stored = await storage.stat(`${last.folder}/${manifestName}`);
  if (stored === null) return null;
  const finishedAt = new Date(last.details.finishedAt);
  return fileSkewSeconds({ finishedAt, modifiedAt: stored.modifiedAt }, now);
}

async function checkStoreClocks(monitor: MonitorContext): Promise<readonly HealthFinding[]> {
  const { context, now } = monitor;
  const { max_clock_skew_seconds: max } = context.config.settings.monitor;
  const findings: HealthFinding[] = [];
  const dated = new Map<string, Date>();
  for (const listing of await monitor.listing()) {
    // Other checks say that it does not answer.
    if (listing.error !== null) continue;
    const about = {
      check: 'clock',
      subject: listing.store.spec.name,
      cluster: null,
      database: null,
    } as const;
    for (const { label } of listing.full.backups) {
      const startedAt = parseLabel(label)?.startedAt;
      if (startedAt !== undefined) dated.set(label, startedAt);
    }
    for (const { label } of listing.bases) {
      const startedAt = parseBaseLabel(label)?.startedAt;
      if (startedAt !== undefined) dated.set(label, startedAt);
    }
    try {
      const ahead = await storeAhead(monitor, listing);
      if (ahead !== null) findings.push(checkClock(about, ahead, max));
    } catch (thrown) {
      if (context.signal.aborted) throw context.signal.reason;
      findings.push(unknownFinding(about, thrown));
    }
  }
  const about = { check: 'clock', subject: 'backups', cluster: null, database: null } as const;
  const backups = [...dated].map(([label, startedAt]) => ({ label, startedAt }));
  return [...findings, checkDates(about, backups, now)];
}

/** The clocks of stores, and the dates of backups. */
export const clocksGroup: CheckGroup = {
  name: 'clocks',
  checks: ['clock'],
  needs: 'repository',
  run: checkStoreClocks,
};
