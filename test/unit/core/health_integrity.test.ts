import { describe, expect, it } from 'vitest';
import {
  type DamagedBackup,
  type StoreIntegrity,
  storeIntegrity,
} from '../../../src/core/health_integrity.ts';

const since = new Date('2026-11-21T12:00:00.000Z');
const facts: StoreIntegrity = {
  store: 'nas',
  isFolder: true,
  backups: 5,
  damaged: [],
  changed: [],
  left: [],
  failures: [],
  readBackups: 1,
  readBytes: 1000,
  unreadSeconds: 60,
  notRemembered: null,
};
const damaged = (label: string, parts: Partial<DamagedBackup> = {}): DamagedBackup => ({
  store: 'nas',
  cluster: 'main',
  database: 'a\nb',
  label,
  damage: ['database.dump differs from its digest', 'restore.sh is not there'],
  since,
  isRecorded: false,
  ...parts,
});
const look = (parts: Partial<StoreIntegrity>) => storeIntegrity({ ...facts, ...parts });

describe('the integrity of a store', () => {
  it('is fine, with what was read and how long nothing was', () => {
    expect(look({})).toMatchObject([
      {
        level: 'ok',
        subject: 'nas',
        message: '5 backups in the store "nas": 0 damaged, 0 changed and not read yet',
        found: '1.0 kB of 1 backup read just now',
        values: { read_bytes: 1000, longest_unread_seconds: 60 },
      },
    ]);
    expect(look({ isFolder: false })[0]?.found).toContain('verify_backups.ts alone');
    expect(look({ left: ['large'] })[0]).toMatchObject({ level: 'ok' });
    expect(look({ left: ['large'] })[0]?.found).toContain('too large for one run: large');
  });

  it.each([
    ['changed', { changed: ['L1'] }, 'verify_backups.ts L1'],
    ['could not be read', { failures: ['L1: no answer'] }, 'the store'],
    ['not remembered', { notRemembered: 'no room' }, 'state/monitor'],
  ] as const)('is a warning where something is %s', (_, parts, mend) => {
    const [finding] = look(parts);
    expect(finding?.level).toBe('warning');
    expect(finding?.mend).toContain(mend);
  });

  it('is critical for each backup that is damaged, with what is wrong and what to type', () => {
    const [store, own, recorded, base] = look({
      damaged: [
        damaged('L1'),
        damaged('L2', { isRecorded: true, since: null }),
        damaged('L3', { database: null }),
      ],
    });
    expect(store).toMatchObject({ level: 'ok', values: { damaged: 3 } });
    expect(own).toMatchObject({
      level: 'critical',
      subject: 'nas/main/"a\\nb"/L1',
      database: 'a\nb',
      found: 'database.dump differs from its digest and 1 more',
      since: since.toISOString(),
    });
    expect(own?.mend).toContain('verify_backups.ts L1');
    expect(recorded?.mend).toContain('prune_backups.ts');
    expect(base?.subject).toBe('nas/main/L3');
  });

  it('tells fifty one by one, and the others together', () => {
    const many = Array.from({ length: 60 }, (_, at) => damaged(`L${at}`));
    const findings = look({ damaged: many });
    expect(findings).toHaveLength(52);
    expect(findings.at(-1)?.message).toBe('10 more backups in nas are damaged');
  });
});
