/** Encrypted backups of databases on a real server: who can read them, and what others can see. */

import { execFile } from 'node:child_process';
import { cp, mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { startTestCluster, type TestCluster } from '../support/cluster.ts';
import type { Outcome } from '../support/command.ts';
import {
  type AgeKey,
  type GpgKeyring,
  gpg,
  makeAgeKey,
  makeGpgKeyring,
  makeKeyFolder,
  makePublicKeyring,
} from '../support/encryption_keys.ts';
import {
  flipped,
  jsonOf,
  openWorkbench,
  programOutput,
  type TakenBackup,
  type Workbench,
} from '../support/workbench.ts';

const run = promisify(execFile);

let cluster: TestCluster;
let bench: Workbench;
let keys: Awaited<ReturnType<typeof makeKeyFolder>>;
let alice: AgeKey;
let bob: AgeKey;
let mallory: AgeKey;
let ring: GpgKeyring;
let other: GpgKeyring;
/** What the server has: public keys alone. */
let publicHome: string;

const everyAge = () => ({
  BACKUP_ENCRYPTION: 'age',
  AGE_RECIPIENTS: `${alice.recipient}, ${bob.recipient}`,
});
const everyGpg = () => ({
  BACKUP_ENCRYPTION: 'gpg',
  GPG_RECIPIENTS: `${ring.fingerprint},${other.fingerprint}`,
  GPG_HOME: publicHome,
});

beforeAll(async () => {
  cluster = await startTestCluster();
  bench = await openWorkbench(cluster);
  keys = await makeKeyFolder();
  alice = await makeAgeKey(keys.path, 'alice');
  bob = await makeAgeKey(keys.path, 'bob');
  mallory = await makeAgeKey(keys.path, 'mallory');
  await run('ssh-keygen', ['-q', '-t', 'ed25519', '-N', '', '-f', join(keys.path, 'ssh')]);
  ring = await makeGpgKeyring(keys.path, 'ring');
  other = await makeGpgKeyring(keys.path, 'other');
  publicHome = await makePublicKeyring(keys.path, 'public', [ring, other]);
  await cluster.sql(['CREATE ROLE clerk LOGIN', 'CREATE DATABASE shop OWNER clerk']);
  await cluster.sql(
    'CREATE TABLE goods AS SELECT n AS id, md5(n::text) AS name FROM generate_series(1, 20000) n',
    'shop',
  );
});

afterAll(async () => {
  await cluster?.stop({ immediate: true });
  await bench?.remove();
  await keys?.remove([ring.home, other.home, publicHome]);
});

const restore = (argv: readonly string[], environment: Record<string, string> = {}) =>
  bench.run('restore_backup', [...argv, '--force', '--json'], { environment });

async function expectRestored(outcome: Outcome, database: string): Promise<void> {
  expect(outcome.status, outcome.stderr).toBe(0);
  expect(jsonOf(outcome)).toMatchObject({ database });
  const counted = await cluster.sql('SELECT count(*)::int AS n FROM goods', database);
  expect(counted).toEqual([{ n: 20_000 }]);
  await cluster.sql(`DROP DATABASE ${database} (FORCE)`);
}

/** Nothing was made beside the database. */
async function expectNothingMade(): Promise<void> {
  const made = await cluster.sql("SELECT datname FROM pg_database WHERE datname LIKE '%copy%'");
  expect(made).toEqual([]);
}

describe('a backup that is encrypted with age', () => {
  let taken: TakenBackup;
  beforeAll(async () => {
    taken = await bench.backUp('shop', ['--verify'], everyAge());
  });
  const copy = (...more: string[]) => [taken.label, '--target-database', 'copy', ...more];

  it('says for whom, and holds nothing in the clear but its manifest and how to restore it', async () => {
    const { files, read_back: readBack, warnings } = taken.manifest;
    const encryption = { name: 'age', recipients: [alice.recipient, bob.recipient] };
    expect(files.map(({ name, filters }) => [name, filters.at(-1)])).toEqual([
      ['database.dump.zst.age', encryption],
      ['globals.sql.zst.age', encryption],
      ['restore.sh', undefined],
    ]);
    for (const name of ['database.dump.zst.age', 'globals.sql.zst.age']) {
      const bytes = await readFile(join(taken.folder, name));
      expect(bytes.subarray(0, 21).toString()).toBe('age-encryption.org/v1');
    }
    expect(readBack.depth).toBe('stored');
    expect(warnings).toMatchObject([{ code: 'not-decrypted' }]);
    expect(taken.outcome.stderr).toContain('no private key of its recipients is on this machine');
  });

  it.each([
    ['the first recipient, in one job', () => alice, ['--jobs', '1']],
    ['the second, in two', () => bob, ['--jobs', '2', '--compare', 'content']],
  ] as const)('is restored by %s', async (_who, key, flags) => {
    await expectRestored(await restore(copy('--identity', key().identity, ...flags)), 'copy');
  });

  it('is read back whole where its key is at hand', async () => {
    const environment = { ...everyAge(), AGE_IDENTITY_FILE: bob.identity };
    const { manifest } = await bench.backUp('shop', ['--verify'], environment);
    expect(manifest.read_back.depth).toBe('plain');
    expect(manifest.warnings).toEqual([]);
  });

  it('is decrypted by age itself, as any file of that kind', async () => {
    const file = join(taken.folder, 'globals.sql.zst.age');
    const command = `age --decrypt --identity ${alice.identity} ${file} | zstd --decompress`;
    const { stdout } = await run('sh', ['-c', command]);
    expect(stdout).toContain('CREATE ROLE clerk');
  });

  it('is restored by a person who types the key', async () => {
    const secret = /AGE-SECRET-KEY-.*/.exec(await readFile(alice.identity, 'utf8'))?.[0];
    const outcome = await bench.run('restore_backup', [...copy(), '--force', '--json'], {
      typed: secret ?? '',
    });
    await expectRestored(outcome, 'copy');
    expect(outcome.stderr).toContain(`for ${alice.recipient}, ${bob.recipient}`);
    expect(outcome.stderr + outcome.stdout).not.toContain(secret);
  });

  it('without a key: says for whom it is, and what to type; with another one: status 4', async () => {
    const none = await restore(copy());
    expect(none.status).toBe(2);
    expect(none.stderr).toContain(alice.recipient);
    expect(none.stderr).toContain('--identity FILE');
    for (const jobs of ['1', '2']) {
      const wrong = await restore(copy('--identity', mallory.identity, '--jobs', jobs));
      expect(wrong.status, wrong.stderr).toBe(4);
      expect(jsonOf(wrong)).toMatchObject({ error: { code: 'WRONG_KEY' } });
      expect(wrong.stderr).toContain(bob.recipient);
    }
    const noFile = await restore(copy('--identity', join(bench.folder, 'nobody')));
    expect(noFile.status).toBe(2);
    const publicKey = join(bench.folder, 'public.txt');
    await writeFile(publicKey, `${alice.recipient}\n`);
    const notSecret = await restore(copy('--identity', publicKey));
    expect(notSecret.stderr).toContain('is a public key, which decrypts nothing');
    await expectNothingMade();
  });

  it('is verified as far as the keys reach', async () => {
    const locked = await bench.run('verify_backups', ['--all', '--json']);
    expect(locked.status, locked.stderr).toBe(0);
    expect(locked.stderr).toContain('the inside was not looked at');
    const names = ['database.dump.zst.age', 'globals.sql.zst.age'];
    expect(jsonOf(locked)).toMatchObject({ backups: [{ ok: true, locked: names }, {}] });
    const wrong = await bench.run('verify_backups', [taken.label, '--identity', mallory.identity]);
    expect(wrong.status, wrong.stderr).toBe(0);
    expect(wrong.stderr).toContain('the inside was not looked at');
    const open = await bench.run('verify_backups', [
      taken.label,
      '--identity',
      alice.identity,
      '--json',
    ]);
    expect(jsonOf(open)).toMatchObject({ backups: [{ ok: true, locked: [] }] });
    const only = await restore(copy('--verify-only', '--identity', alice.identity));
    expect(only.status, only.stderr).toBe(0);
  });

  it('that was flipped or cut is damaged, whatever the key', async () => {
    const folder = join(bench.folder, 'hurt', taken.label);
    for (const hurt of [
      (bytes: Buffer) => flipped(bytes),
      // In the part that tells the recipients: age itself takes that for another key.
      (bytes: Buffer) => {
        const at = bytes.indexOf('-> X25519') + 30;
        return Buffer.concat([
          bytes.subarray(0, at),
          Buffer.from(bytes.at(at) === 65 ? 'B' : 'A'),
          bytes.subarray(at + 1),
        ]);
      },
      (bytes: Buffer) => bytes.subarray(0, bytes.length - 100),
    ]) {
      await cp(taken.folder, folder, { recursive: true });
      const file = join(folder, 'database.dump.zst.age');
      await writeFile(file, hurt(await readFile(file)));
      for (const { identity } of [alice, mallory]) {
        const outcome = await restore([
          folder,
          '--target-database',
          'copy',
          '--identity',
          identity,
        ]);
        expect(outcome.status, outcome.stderr).toBe(4);
        expect(jsonOf(outcome)).toMatchObject({ error: { code: 'DAMAGED' } });
      }
    }
    await expectNothingMade();
  });

  it.each(['dash', 'bash'])(
    'is restored by its own script under %s, with age and a key',
    async (shell) => {
      const script = join(taken.folder, 'restore.sh');
      const environment = { ...bench.environment, PATH: process.env.PATH ?? '' };
      const without = await run(shell, [script, 'copy'], { env: environment }).catch(
        (error) => error,
      );
      expect(without).toMatchObject({ code: 2 });
      expect(without.stderr).toContain(bob.recipient);
      const wrong = ['--identity', mallory.identity, 'copy'];
      const refused = await run(shell, [script, ...wrong], { env: environment }).catch((e) => e);
      expect(refused).toMatchObject({ code: 4 });
      await expectNothingMade();
      await run(shell, [script, '--identity', alice.identity, 'copy'], { env: environment });
      expect(await cluster.sql('SELECT count(*)::int AS n FROM goods', 'copy')).toEqual([
        { n: 20_000 },
      ]);
      await cluster.sql('DROP DATABASE copy');
    },
  );
});

describe('a backup that is encrypted with gpg', () => {
  let taken: TakenBackup;
  beforeAll(async () => {
    taken = await bench.backUp('shop', ['--compression', 'none'], everyGpg());
  });
  const copy = (...more: string[]) => [taken.label, '--target-database', 'copy', ...more];

  it('is restored from either keyring, and by gpg itself', async () => {
    expect(taken.manifest.files[0]).toMatchObject({
      name: 'database.dump.gpg',
      filters: [{ name: 'gpg', recipients: [ring.fingerprint, other.fingerprint] }],
    });
    for (const [{ home }, jobs] of [
      [ring, '1'],
      [other, '2'],
    ] as const) {
      await expectRestored(await restore(copy('--jobs', jobs), { GPG_HOME: home }), 'copy');
    }
    const text = await gpg(ring.home, '--decrypt', join(taken.folder, 'globals.sql.gpg'));
    expect(text).toContain('CREATE ROLE clerk');
  });

  it('is only looked at from outside without its private key, and damage is told as what it is', async () => {
    const wrong = await restore(copy(), { GPG_HOME: publicHome });
    expect(wrong.status, wrong.stderr).toBe(4);
    expect(jsonOf(wrong)).toMatchObject({ error: { code: 'WRONG_KEY' } });
    expect(wrong.stderr).toContain(ring.fingerprint);
    const locked = await bench.run('verify_backups', [taken.label], {
      environment: { GPG_HOME: publicHome },
    });
    expect(locked.status, locked.stderr).toBe(0);
    expect(locked.stderr).toContain('the inside was not looked at');
    const folder = join(bench.folder, 'hurt', taken.label);
    await cp(taken.folder, folder, { recursive: true });
    const file = join(folder, 'database.dump.gpg');
    await writeFile(file, flipped(await readFile(file)));
    for (const home of [ring.home, publicHome]) {
      const hurt = await restore([folder, '--target-database', 'copy'], { GPG_HOME: home });
      expect(hurt.status, hurt.stderr).toBe(4);
      expect(jsonOf(hurt)).toMatchObject({ error: { code: 'DAMAGED' } });
    }
    await expectNothingMade();
  });
});

describe('files that others have encrypted', () => {
  it.each([
    ['age', () => ['age', '--armor', '--recipient', alice.recipient]],
    ['age, for a key of SSH', () => ['age', '--recipients-file', join(keys.path, 'ssh.pub')]],
    [
      'gpg',
      () =>
        ['gpg', '--homedir', publicHome, '--batch', '--trust-model', 'always', '--encrypt'].concat(
          '--recipient',
          ring.fingerprint,
        ),
    ],
  ] as const)('with %s are recognised and restored', async (how, command) => {
    const ssh = join(keys.path, 'ssh');
    const file = join(bench.folder, `from elsewhere.${how.slice(0, 3)}`);
    const dump = await programOutput(cluster, 'pg_dump', ['--format=custom', 'shop']);
    await writeFile(`${file}.dump`, dump);
    const [program = '', ...args] = command();
    await rm(file, { force: true });
    await run(program, [...args, '--output', file, `${file}.dump`]);
    const identity = how.includes('SSH') ? ssh : alice.identity;
    const argv = [file, 'shop', '--target-database', 'copy', '--identity', identity];
    await expectRestored(await restore(argv, { GPG_HOME: ring.home }), 'copy');
  });
});

describe('settings that cannot work', () => {
  it.each([
    ['nobody', { BACKUP_ENCRYPTION: 'age' }, 'AGE_RECIPIENTS'],
    ['no key', { BACKUP_ENCRYPTION: 'age', AGE_RECIPIENTS: 'age1nobody' }, 'age1nobody'],
    ['no file', { BACKUP_ENCRYPTION: 'age', AGE_RECIPIENTS: '/nowhere/keys' }, '/nowhere/keys'],
    ['a name', { BACKUP_ENCRYPTION: 'gpg', GPG_RECIPIENTS: 'alice@example.org' }, 'fingerprint'],
    ['a stranger', { BACKUP_ENCRYPTION: 'gpg', GPG_RECIPIENTS: 'A'.repeat(40) }, 'No public key'],
  ] as const)('name %s', async (_what, settings, words) => {
    const environment = { ...settings, GPG_HOME: publicHome };
    const outcome = await bench.run('backup_full', ['shop'], { environment });
    expect(outcome.status, outcome.stderr).toBe(2);
    expect(outcome.stderr).toContain(words);
  });

  it('hold a private key, which is told and not printed', async () => {
    const text = await readFile(alice.identity, 'utf8');
    const secret = /AGE-SECRET-KEY-.*/.exec(text)?.[0] ?? '';
    const environment = { BACKUP_ENCRYPTION: 'age', AGE_RECIPIENTS: secret };
    const outcome = await bench.run('backup_full', ['shop', '--json'], { environment });
    expect(outcome.status).toBe(2);
    expect(outcome.stderr).toContain('holds a private key');
    expect(outcome.stderr + outcome.stdout).not.toContain(secret.slice(15));
  });

  it('name a key that has expired, or need a program that is not there', async () => {
    const old = await makeGpgKeyring(keys.path, 'old', 'seconds=1');
    await new Promise((resolve) => setTimeout(resolve, 2500));
    const environment = { BACKUP_ENCRYPTION: 'gpg', GPG_RECIPIENTS: old.fingerprint };
    const more = { GPG_HOME: old.home };
    const expired = await bench.run('backup_full', ['shop'], {
      environment: { ...environment, ...more },
    });
    expect(expired.status, expired.stderr).toBe(2);
    expect(expired.stderr).toMatch(/expired|unusable/i);
    const tools = join(bench.folder, 'without age');
    await mkdir(tools);
    const missing = await bench.run('backup_full', ['shop'], {
      environment: { ...everyAge(), PATH: tools },
    });
    expect(missing.status, missing.stderr).toBe(3);
    expect(missing.stderr).toContain('Install the package age');
    await gpg(old.home, '--version');
    await run('gpgconf', ['--homedir', old.home, '--kill', 'gpg-agent']);
  });
});

describe('new recipients', () => {
  it('are for new backups: the old ones stay with the old keys', async () => {
    const before = await bench.backUp('shop', [], {
      BACKUP_ENCRYPTION: 'age',
      AGE_RECIPIENTS: alice.recipient,
    });
    const list = join(bench.folder, 'recipients.txt');
    await writeFile(list, `# since November\n${bob.recipient}\n`);
    const after = await bench.backUp('shop', [], {
      BACKUP_ENCRYPTION: 'age',
      AGE_RECIPIENTS: list,
    });
    const both = join(bench.folder, 'both keys.txt');
    const [old, young] = await Promise.all([alice, bob].map((key) => readFile(key.identity)));
    await writeFile(both, Buffer.concat([old ?? Buffer.alloc(0), young ?? Buffer.alloc(0)]));
    for (const [{ label }, mine, others] of [
      [before, alice, bob],
      [after, bob, alice],
    ] as const) {
      const argv = (identity: string) => [label, '--verify-only', '--identity', identity];
      expect((await restore(argv(mine.identity))).status).toBe(0);
      expect((await restore(argv(both))).status).toBe(0);
      expect((await restore(argv(others.identity))).status).toBe(4);
    }
  });
});
