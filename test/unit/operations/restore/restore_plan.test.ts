import { describe, expect, it } from 'vitest';
import { describePlan, type RestorePlan } from '../../../../src/operations/restore/restore_plan.ts';

const plan: RestorePlan = {
  backup: '20261121T020000Z-daily-k3f9',
  taken_at: '2026-11-21T02:00:00.000Z',
  age_seconds: 3 * 86_400,
  backup_seconds: 192,
  source_database: 'shop',
  server: 'db1:5432',
  target_database: 'shop',
  replaces: { bytes: 8e6, connections: 3 },
  restoring_name: 'shop__restoring_20261121T030000Z',
  before_name: 'shop__before_20261121T030000Z',
  in_place: false,
  keep_going: false,
  safety_backup: null,
  tables: 2,
  rows: 40,
  database_bytes: 9e6,
  dump_bytes: 5000,
  jobs: 1,
  unpacked_bytes: null,
  temp_free_bytes: null,
  free_bytes: 20e9,
  compare: 'counts',
  estimate: { seconds: 252, restores: 3 },
  roles_to_create: ['clerk', 'the "boss"'],
  obstacles: [
    {
      kind: 'slot',
      name: 's',
      active: false,
      retained_bytes: 5e9,
      blocks: { swap: false, drop: false },
      message: 'the replication slot "s" stays with the old database',
      sql: ["SELECT pg_drop_replication_slot('s');"],
    },
  ],
  notes: ['the rows of the tables were not counted'],
};

const described = (changes: Partial<RestorePlan>) => describePlan({ ...plan, ...changes });

describe('the plan of a restore', () => {
  it('tells backup, server, each step in its order, space, and what needs a hand', () => {
    expect(describePlan(plan)).toEqual([
      'backup:  20261121T020000Z-daily-k3f9, of "shop", taken 2026-11-21T02:00:00.000Z ' +
        '(3 days old), 2 tables, 40 rows, a dump of 5.0 kB, 9.0 MB on the server',
      'server:  db1:5432',
      '1. read the whole backup and check every digest',
      '2. restore it into the new database "shop__restoring_20261121T030000Z"',
      '3. compare its tables and rows with the backup, analyze it',
      '4. swap: "shop" (8.0 MB, 3 connections now, which are ended) becomes ' +
        '"shop__before_20261121T030000Z" and the new one takes its name',
      'time:    about 4 min (from 3 restores with 1 job)',
      'space:   about 9.0 MB needed on the server, 20.0 GB free there',
      'roles:   missing, will be created: "clerk", "the \\"boss\\""',
      'note:    the replication slot "s" stays with the old database',
      "  type:  SELECT pg_drop_replication_slot('s');",
      'note:    the rows of the tables were not counted',
    ]);
  });

  it('says where nothing is replaced, and of a dump from elsewhere only what is known', () => {
    const lines = described({
      backup: '/srv/old.dump',
      taken_at: null,
      age_seconds: null,
      backup_seconds: null,
      source_database: null,
      tables: null,
      rows: null,
      database_bytes: null,
      dump_bytes: null,
      replaces: null,
      before_name: null,
      free_bytes: null,
      compare: 'none',
      estimate: null,
      roles_to_create: null,
      obstacles: [],
      notes: [],
    });
    expect(lines).toEqual([
      'backup:  /srv/old.dump',
      'server:  db1:5432',
      '1. read the whole backup and check every digest',
      '2. restore it into the new database "shop__restoring_20261121T030000Z"',
      '3. analyze it (nothing is compared)',
      '4. name it "shop", which does not exist yet',
      'time:    not known: no restore like this one was recorded here yet',
    ]);
  });

  it('without records says how long the backup took', () => {
    expect(described({ estimate: null })).toContain(
      'time:    not known: no restore like this one was recorded here yet; the backup took 3 min 12 s',
    );
  });

  it('in place tells the safety backup and the drop before anything is built', () => {
    const lines = described({
      in_place: true,
      before_name: null,
      safety_backup: { bytes: 3e6, free_bytes: 7e9 },
    });
    expect(lines.slice(2, 9)).toEqual([
      '1. read the whole backup and check every digest',
      '2. take a safety backup of "shop" into the repository (about 3.0 MB, 7.0 GB free) and ' +
        'read it back',
      '3. DROP "shop" (8.0 MB, 3 connections now, which are ended): from here on there is no ' +
        '"shop" until the last step',
      '4. restore it into the new database "shop__restoring_20261121T030000Z"',
      '5. compare its tables and rows with the backup, analyze it',
      '6. name it "shop"',
      'time:    about 4 min (from 3 restores with 1 job), and the safety backup before it',
    ]);
  });

  it('that keeps going says that errors are collected, and what they mean', () => {
    expect(described({ keep_going: true })[3]).toMatch(
      /; errors are collected, and then nothing is swapped$/,
    );
  });

  it('names only so many roles', () => {
    const roles = Array.from({ length: 25 }, (_, number) => `r${number}`);
    const line = described({ roles_to_create: roles }).find((each) => each.startsWith('roles:'));
    expect(line).toMatch(/"r19" and 5 more$/);
    expect(described({ roles_to_create: [] }).join('\n')).not.toContain('roles:');
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
    expect(lines).toHaveLength(describePlan(plan).length);
    expect(lines.join('')).not.toMatch(/\p{Cc}/u);
  });
});
