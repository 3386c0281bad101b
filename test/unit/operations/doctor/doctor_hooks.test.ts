import { chmodSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { doctorStatus } from '../../../../src/core/doctor.ts';
import { Secret } from '../../../../src/core/secret.ts';
import type { Context } from '../../../../src/operations/context.ts';
import { examineHooks } from '../../../../src/operations/doctor/doctor_hooks.ts';
import { settingsInEffect } from '../../../../src/operations/doctor/doctor_settings.ts';

const none = {
  before_backup: null,
  after_backup: null,
  before_restore: null,
  after_restore: null,
  on_failure: null,
};
let folder: string;

beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'holdfast-hooks-'));
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

function file(name: string, mode: number): string {
  const path = join(folder, name);
  writeFileSync(path, '#!/bin/sh\nexit 1\n');
  chmodSync(path, mode);
  return path;
}

function contextOf(hooks: object): Context {
  const { signal } = new AbortController();
  return { signal, config: { settings: { hooks: { ...none, ...hooks } } } } as unknown as Context;
}

describe('the doctor', () => {
  it('looks whether hooks can run, and runs none', async () => {
    const before_backup = file('good', 0o755);
    const after_backup = file('plain', 0o644);
    const on_failure = file('open', 0o757);
    const findings = await examineHooks(contextOf({ before_backup, after_backup, on_failure }));
    expect(findings).toMatchObject([
      { check: 'hooks', subject: `before_backup (${before_backup})`, level: 'ok' },
      { level: 'problem', mend: `chmod +x '${after_backup}'` },
      { level: 'warning', mend: `chmod o-w '${on_failure}'` },
    ]);
    expect(doctorStatus(findings)).toBe(3);
    expect(await examineHooks(contextOf({}))).toEqual([]);
  });

  it('tells the settings of groups too, but no secret', () => {
    const origin = { origin: '.env', name: 'X' } as const;
    const settings = { hooks: { failure: 'warn' }, alerts: { token: new Secret('x') }, nice: 5 };
    const names = ['hooks.failure', 'alerts.token', 'nice'];
    const sources = new Map(names.map((name) => [name, origin]));
    const facts = settingsInEffect({ config: { settings, sources } } as unknown as Context);
    expect(facts.map(({ value }) => value)).toEqual(['warn', '[redacted]', 5]);
  });
});
