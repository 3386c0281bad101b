/** An alert as tests send it. */

import type { Alert } from '../../src/core/alert.ts';

/** A backup that has failed. @param change what is other than usual */
export function sampleAlert(change: Partial<Alert> = {}): Alert {
  return {
    format: 1,
    source: 'holdfast',
    id: 'a1',
    event: 'backup',
    priority: 'critical',
    status: 'firing',
    title: 'the backup of "app" failed',
    message: 'there is no space left\nfree some',
    cluster: 'main',
    database: 'app',
    host: 'db1',
    timestamp: '2026-11-21T02:00:00.000Z',
    key: 'backup/db1:5432/app',
    details: { exit_status: 3 },
    ...change,
  };
}
