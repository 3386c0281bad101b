/** The monitor's check of the space on a disk that a test makes up: the forecast is the real one. */

import { checkSpaceOf } from '../../src/core/health_space.ts';
import { parseLabel } from '../../src/core/label.ts';
import { retentionPolicy } from '../../src/core/retention.ts';
import { daysUntilFull } from '../../src/core/space_forecast.ts';
import type { CheckGroup } from '../../src/operations/monitor/monitor_context.ts';

const about = { check: 'space', subject: '/backup', cluster: null, database: null } as const;
const every = { daily: 1, weekly: 7, monthly: 31 } as const;

/** @param sizes in bytes, of the backups that lie there, by their labels */
export function madeUpSpace(sizes: ReadonlyMap<string, number>, totalBytes: number): CheckGroup {
  return {
    name: 'space',
    checks: ['space'],
    needs: 'repository',
    run: async ({ context, now }) => {
      const { settings } = context.config;
      const policy = retentionPolicy(settings);
      const stored = [...sizes].map(([label, bytes]) => {
        const parsed = parseLabel(label);
        return { tier: parsed?.tier, at: parsed?.startedAt ?? new Date(0), bytes };
      });
      const usedBytes = stored.reduce((sum, { bytes }) => sum + bytes, 0);
      const disk = { freeBytes: totalBytes - usedBytes, usedBytes, totalBytes };
      const series = (['daily', 'weekly', 'monthly'] as const).map((tier) => ({
        stored: stored.filter((each) => each.tier === tier),
        keepDays: policy[tier].days,
        keepCount: policy[tier].count,
        everyDays: every[tier],
      }));
      const days = daysUntilFull(series, disk.freeBytes, now);
      const nextBytes = stored.slice(-1).map(({ bytes }) => bytes);
      const { max_disk_used_percent: maxPercent, min_days_until_full: minDays } = settings.monitor;
      const limits = { maxPercent, keepFreeBytes: 0, minDays };
      return [checkSpaceOf(about, { disk, nextBytes, daysUntilFull: days }, limits)];
    },
  };
}
