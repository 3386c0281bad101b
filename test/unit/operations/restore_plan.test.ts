import { describe, expect, it } from 'vitest';
import { describePlan, type RestorePlan } from '../../../src/operations/restore_plan.ts';

const plan: RestorePlan = {
  backup: '20261121T020000Z-daily-k3f9',
  taken_at: '2026-11-21T02:00:00.000Z',
  source_database: 'shop',
  server: 'db1:5432',
  target_database: 'shop',
  replaces: { bytes: 8e6, connections: 3 },
  restoring_name: 'shop__restoring_20261121T030000Z',
  before_name: 'shop__before_20261121T030000Z',
  tables: 2,
  rows: 40,
  database_bytes: 9e6,
  dump_bytes: 5000,
  jobs: 1,
  unpacked_bytes: null,
  free_bytes: 20e9,
  compare: 'counts',
  notes: ['the replication slot "s" stays with the old database'],
};

const described = (changes: Partial<RestorePlan>) => describePlan({ ...plan, ...changes });

describe('the plan of a restore', () => {
  it('tells backup, server, each step in its order, space, and what needs a hand', () => {
    expect(describePlan(plan)).toEqual([
      'backup:  20261121T020000Z-daily-k3f9, of "shop", taken 2026-11-21T02:00:00.000Z, ' +
        '2 tables, 40 rows, 9.0 MB on the server',
      'server:  db1:5432',
      '1. read the whole backup and check every digest',
      '2. restore it into the new database "shop__restoring_20261121T030000Z"',
      '3. compare its tables and rows with the backup, analyze it',
      '4. swap: "shop" (8.0 MB, 3 connections now, which are ended) becomes ' +
        '"shop__before_20261121T030000Z" and the new one takes its name',
      'space:   20.0 GB free',
      'note:    the replication slot "s" stays with the old database',
    ]);
  });

  it('says where nothing is replaced, and of a dump from elsewhere only what is known', () => {
    const lines = described({
      backup: '/srv/old.dump',
      taken_at: null,
      source_database: null,
      tables: null,
      rows: null,
      database_bytes: null,
      replaces: null,
      before_name: null,
      free_bytes: null,
      compare: 'none',
      notes: [],
    });
    expect(lines).toEqual([
      'backup:  /srv/old.dump',
      'server:  db1:5432',
      '1. read the whole backup and check every digest',
      '2. restore it into the new database "shop__restoring_20261121T030000Z"',
      '3. analyze it (nothing is compared)',
      '4. name it "shop", which does not exist yet',
    ]);
  });

  it('with several jobs says that the dump is unpacked, and to how much', () => {
    expect(described({ jobs: 4, unpacked_bytes: 3e9 })[3]).toMatch(
      / with 4 jobs, unpacked to a temporary file of 3\.0 GB$/,
    );
    expect(described({ jobs: 4 })[3]).toMatch(/ with 4 jobs, unpacked to a temporary file$/);
  });

  it('keeps every step on one line, whatever the databases are called', () => {
    const odd = 'a\nb "c"\x1b[2J';
    const lines = described({ target_database: odd, source_database: odd, restoring_name: odd });
    expect(lines).toHaveLength(8);
    expect(lines.join('')).not.toMatch(/\p{Cc}/u);
  });
});
