/** How long backups and WAL are kept (PRODUCT.md, "Retention, so that it never hurts"). */

import type { Setting } from './setting.ts';

/** In the order in which they are told, among the general ones. */
export const retentionTable = {
  retention_days: {
    schema: { type: 'integer', minimum: 1, maximum: 36_500 },
    env: ['RETENTION_DAYS'],
    default: null,
    defaultText: '30 for manual backups',
    description:
      'How many days manual backups are kept. Where it is set it is also the least for every tier.',
    example: 30,
  },
  retention_daily: {
    schema: { type: 'integer', minimum: 1, maximum: 36_500 },
    env: ['BACKUP_RETENTION_DAYS', 'BACKUP_RETENTION_DAILY'],
    default: 7,
    description:
      'How many days daily backups are kept. An older one goes only while so many younger good ' +
      'daily ones stay.',
    example: 14,
  },
  retention_weekly: {
    schema: { type: 'integer', minimum: 1, maximum: 5200 },
    env: ['BACKUP_RETENTION_WEEKS', 'BACKUP_RETENTION_WEEKLY'],
    default: 4,
    description:
      'How many weeks weekly backups are kept. An older one goes only while so many younger good ' +
      'weekly ones stay.',
    example: 8,
  },
  retention_monthly: {
    schema: { type: 'integer', minimum: 1, maximum: 1200 },
    env: ['BACKUP_RETENTION_MONTHS', 'BACKUP_RETENTION_MONTHLY'],
    default: 12,
    description:
      'How many months of 31 days monthly backups are kept. An older one goes only while so many ' +
      'younger good monthly ones stay.',
    example: 24,
  },
  wal_retention_days: {
    schema: { type: 'integer', minimum: 1, maximum: 36_500 },
    env: ['WAL_RETENTION_DAYS'],
    default: 7,
    description:
      'How many days back a cluster can be recovered to any moment: the recovery window. Kept ' +
      'are the last base backup before it and all WAL since.',
    example: 14,
  },
} as const satisfies Readonly<Record<string, Setting>>;
