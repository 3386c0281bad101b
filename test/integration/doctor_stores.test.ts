/** The doctor about stores beside BACKUP_DIR and about encryption: what works, and what does not. */

import { mkdtemp, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { runCommand } from '../support/command.ts';
import { type DoctorReport, of } from '../support/doctor.ts';
import { type AgeKey, makeAgeKey } from '../support/encryption_keys.ts';
import { jsonOf } from '../support/workbench.ts';

let folder: string;
let key: AgeKey;
let other: AgeKey;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "holdfast doctor '"));
  key = await makeAgeKey(folder, 'key');
  other = await makeAgeKey(folder, 'other');
});

afterAll(async () => {
  await rm(folder, { recursive: true, force: true });
});

/** The doctor on a machine without a server. */
async function examine(yaml: string, environment: Readonly<Record<string, string>> = {}) {
  const config = join(folder, 'holdfast.yaml');
  await writeFile(config, yaml, { mode: 0o600 });
  const outcome = await runCommand('doctor', ['--config', config, '--json'], {
    environment: { BACKUP_DIR: join(folder, 'repository'), PGHOST: folder, ...environment },
  });
  return jsonOf<DoctorReport & object>(outcome);
}

describe('stores beside BACKUP_DIR', () => {
  it('are tried one by one, and what was put into them is taken away', async () => {
    await writeFile(join(folder, 'a file'), '');
    const report = await examine(
      'stores: { good: { path: ./store }, "bad": { path: ./a file/below }, off: { path: x, enabled: no } }\n',
    );
    const [good, ...more] = of(report, 'store', 'ok');
    expect(more).toEqual([]);
    expect(good).toMatchObject({ subject: 'good' });
    const works = 'put, head, get, list, condition, multipart, abort, delete work';
    expect(good?.message).toContain(`no repository yet: the first backup begins it; ${works}`);
    expect(await readdir(join(folder, 'store'))).toEqual([]);
    const [bad] = of(report, 'store', 'problem');
    expect(bad).toMatchObject({ subject: 'bad', message: expect.stringMatching(/^put: /) });
    expect(of(report, 'store')).toHaveLength(2);
    expect(await readdir(folder)).not.toContain('repository');
  });
});

describe('encryption', () => {
  const recipients = () => ({ BACKUP_ENCRYPTION: 'age', AGE_RECIPIENTS: key.recipient });

  it('is tried with a probe, and says nothing where there is none', async () => {
    expect(of(await examine(''), 'encryption')).toEqual([]);
    const found = of(await examine('', recipients()), 'encryption');
    expect(found).toMatchObject([{ level: 'ok', subject: 'age' }]);
    expect(found[0]?.message).toContain(`encrypts for 1 recipient: ${key.recipient}`);
  });

  it('warns of a private key beside it, and finds out the wrong one', async () => {
    const right = await examine('', { ...recipients(), AGE_IDENTITY_FILE: key.identity });
    expect(of(right, 'encryption', 'note')).toHaveLength(1);
    const wrong = await examine('', { ...recipients(), AGE_IDENTITY_FILE: other.identity });
    expect(of(wrong, 'encryption', 'problem')).toMatchObject([
      { subject: other.identity, message: expect.stringContaining('cannot decrypt it') },
    ]);
  });

  it('finds out who is no recipient, before the night does', async () => {
    const report = await examine('', { BACKUP_ENCRYPTION: 'age' });
    expect(of(report, 'settings', 'problem').map(({ message }) => message)).toContainEqual(
      expect.stringContaining('names nobody'),
    );
    const gpg = { BACKUP_ENCRYPTION: 'gpg', GPG_HOME: folder, GPG_RECIPIENTS: 'A'.repeat(40) };
    const unknown = of(await examine('', gpg), 'settings', 'problem');
    expect(unknown.map(({ message }) => message)).toContainEqual(
      expect.stringContaining('gpg cannot encrypt for AAAA'),
    );
  });
});
