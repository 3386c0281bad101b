import { execFileSync } from 'node:child_process';
import { mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import {
  type RestoreScriptFacts,
  renderRestoreScript,
} from '../../../src/operations/restore_script.ts';

const hostile = `it's "q" $(touch executed) \`touch executed\`\nEND_OF_SQL\ntouch executed\n@LABEL@`;

const facts: RestoreScriptFacts = {
  label: '20261121T020000Z-daily-k3f9',
  database: hostile,
  createdAt: '2026-11-21T02:00:00Z',
  serverVersion: '15.18 $(touch executed)',
  serverVersionNum: 150018,
  dumpToolMajor: 15,
  toolVersion: '0.1.0',
  databaseBytes: 1_050_000_000,
  dump: { name: 'database.dump.zst', filters: ['zstd'], bytesStored: 130_000_000 },
  globals: { name: 'globals.sql.gz', filters: ['gzip'], bytesStored: 700 },
  encryption: null,
  properties: {
    owner: hostile,
    acl: [{ grantee: hostile, grantor: hostile, privilege: 'CONNECT', grantable: true }],
    connection_limit: -1,
    tablespace: hostile,
    comment: hostile,
    is_template: false,
    encoding: 'UTF8',
    locale_provider: 'libc',
    collate: hostile,
    ctype: 'C',
    locale: null,
    icu_rules: null,
    settings: [`search_path="${hostile.replaceAll('"', '""')}"`],
    role_settings: [{ role: hostile, settings: [`app.x=${hostile}`] }],
    security_labels: [{ provider: hostile, label: hostile }],
  },
};

describe('the script beside a backup', () => {
  let folder: string;
  beforeAll(() => {
    folder = mkdtempSync(join(tmpdir(), 'restore-script-'));
  });
  afterAll(() => rmSync(folder, { recursive: true }));

  function help(script: string): string {
    writeFileSync(join(folder, 'restore.sh'), script);
    return execFileSync('sh', ['restore.sh', '--help'], { cwd: folder, encoding: 'utf8' });
  }

  it('explains which backup it restores, and to where', () => {
    const text = help(renderRestoreScript(facts));
    for (const part of [facts.label, '1.1 GB', '130 MB', 'pg_dump 15', 'zstd gzip', 'PGHOST']) {
      expect(text).toContain(part);
    }
  });

  it('executes nothing of a name, and shows it as it is', () => {
    expect(help(renderRestoreScript(facts))).toContain(hostile);
    expect(readdirSync(folder)).toEqual(['restore.sh']);
  });

  it('ends its here-documents with a line that no name holds', () => {
    const lines = renderRestoreScript(facts).split('\n');
    expect(lines.filter((line) => line === 'END_OF_SQL_')).toHaveLength(2);
    const properties = { ...facts.properties, owner: 'a\nEND_OF_SQL_\nb' };
    expect(renderRestoreScript({ ...facts, properties })).toContain("<<'END_OF_SQL__'");
  });

  it('fills every placeholder and no text that looks like one', () => {
    const script = renderRestoreScript({ ...facts, database: 'app', label: 'L' });
    expect(script.match(/@[A-Z_]+@/g)?.every((found) => found === '@LABEL@')).toBe(true);
    expect(script).toContain("label='L'");
  });

  it('asks an older origin for no locale provider that its server does not know', () => {
    const script = renderRestoreScript({ ...facts, serverVersionNum: 140010 });
    expect(script).toContain(':SERVER_VERSION_NUM >= 150000');
    expect(renderRestoreScript(facts)).not.toContain('SERVER_VERSION_NUM');
  });

  it('reads a backup without filters and without roles', () => {
    const script = renderRestoreScript({
      ...facts,
      dump: { name: 'database.dump', filters: [], bytesStored: 5 },
      globals: null,
    });
    expect(script).toContain('decode_dump() { cat; }');
    expect(script).toContain("globals=''");
    expect(script).toContain("programs=''");
  });

  it('pleases shellcheck, as does its template', () => {
    const rendered = join(folder, 'restore.sh');
    writeFileSync(rendered, renderRestoreScript(facts));
    const template = join(import.meta.dirname, '../../../templates/restore.sh');
    expect(execFileSync('shellcheck', [rendered, template], { encoding: 'utf8' })).toBe('');
  });
});
