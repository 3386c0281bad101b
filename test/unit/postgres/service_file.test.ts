import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { findService, parseService } from '../../../src/postgres/service_file.ts';

const parse = (text: string) => parseService(text, 'mine', 'f');

describe('parseService', () => {
  it('reads one section; the first value of a name counts', () => {
    const text =
      '[other]\nhost=no\n  [mine]\n # x\n host=a \nhost=b\noptions=-c x=y\nuser= u\n\n[mine]\nport=1\n';
    expect([...(parse(text) ?? [])]).toEqual([
      ['host', 'a'],
      ['options', '-c x=y'],
      ['user', ' u'],
    ]);
    expect(parse('[other]\nhost=x\n')).toBeNull();
    expect(parse('[mine2]\nhost=x\n')).toBeNull();
  });

  it('refuses what libpq refuses, with the line', () => {
    expect(() => parse('[mine]\nhost\n')).toThrow(/f line 2: not of the form/);
    expect(() => parse('[mine]\nservice=x\n')).toThrow(/service in a service/);
    expect(() => parse('[mine]\nldap://x\n')).toThrow(/LDAP/);
  });
});

describe('findService', () => {
  it("looks into the user's file, then the system's", async () => {
    const folder = await mkdtemp(join(tmpdir(), 'holdfast-service-'));
    try {
      const base = { servicefile: null, sysconfdir: folder, home: folder };
      await writeFile(join(folder, 'pg_service.conf'), '[both]\nhost=system\n[own]\nhost=s\n');
      expect((await findService({ ...base, service: 'both' })).values.get('host')).toBe('system');
      await writeFile(join(folder, '.pg_service.conf'), '[both]\nhost=user\n');
      expect((await findService({ ...base, service: 'both' })).values.get('host')).toBe('user');
      expect((await findService({ ...base, service: 'own' })).values.get('host')).toBe('s');
      await expect(findService({ ...base, service: 'none' })).rejects.toThrow(/"none"/);
      const missing = { ...base, servicefile: join(folder, 'nowhere'), service: 'both' };
      await expect(findService(missing)).rejects.toMatchObject({ code: 'CONFIG_UNREADABLE' });
    } finally {
      await rm(folder, { recursive: true });
    }
  });
});
