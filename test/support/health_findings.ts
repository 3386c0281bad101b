/** Findings of the monitor for tests: everything that a test does not care about is filled in. */

import type { HealthFinding } from '../../src/core/health.ts';

/** A finding about the archiver of one server that is fine, but for what is told. */
export function sampleFinding(parts: Partial<HealthFinding> = {}): HealthFinding {
  return {
    check: 'archiver',
    subject: 'db1:5432',
    cluster: null,
    database: null,
    level: 'ok',
    message: 'it archived 3 min ago',
    expected: 'a segment every 90 min',
    found: '000000010000000000000007',
    since: null,
    mend: null,
    values: {},
    ...parts,
  };
}
