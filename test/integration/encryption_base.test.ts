/** Encrypted base backups: taken with public keys alone, restored by those who have the others. */

import { chown, mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import {
  asServerUser,
  copyBackup,
  makeServerFolder,
  runTakeBase,
  startRestored,
  type TakenBase,
} from '../support/base_backup.ts';
import { startTestCluster, type TestCluster } from '../support/cluster.ts';
import {
  type AgeKey,
  type GpgKeyring,
  makeAgeKey,
  makeGpgKeyring,
  makeKeyFolder,
  makePublicKeyring,
} from '../support/encryption_keys.ts';
import { flipped, jsonOf, openWorkbench, type Workbench } from '../support/workbench.ts';

let cluster: TestCluster;
let bench: Workbench;
/** For what the server's user writes. */
let place: string;
let keys: Awaited<ReturnType<typeof makeKeyFolder>>;
let alice: AgeKey;
let mallory: AgeKey;
let ring: GpgKeyring;
let publicHome: string;

beforeAll(async () => {
  cluster = await startTestCluster();
  if (cluster.major >= 17) {
    await cluster.sql(['ALTER SYSTEM SET summarize_wal = on', 'SELECT pg_reload_conf()']);
  }
  bench = await openWorkbench(cluster);
  place = await makeServerFolder(cluster);
  keys = await makeKeyFolder();
  alice = await makeAgeKey(keys.path, 'alice');
  mallory = await makeAgeKey(keys.path, 'mallory');
  ring = await makeGpgKeyring(keys.path, 'ring');
  publicHome = await makePublicKeyring(keys.path, 'public', [ring]);
  await cluster.sql(
    'CREATE TABLE t AS SELECT i, md5(i::text) AS text FROM generate_series(1, 20000) AS i',
  );
});
afterAll(async () => {
  await cluster?.stop({ immediate: true });
  await bench?.remove();
  await keys?.remove([ring.home, publicHome]);
  await rm(place, { recursive: true, force: true });
});

const withAge = () => ({ BACKUP_ENCRYPTION: 'age', AGE_RECIPIENTS: alice.recipient });

async function takeOne(
  environment: Readonly<Record<string, string>>,
  mode: 'full' | 'incremental' = 'full',
): Promise<TakenBase> {
  const outcome = await runTakeBase({ ...bench.environment, ...environment }, mode);
  expect(outcome.status, outcome.stderr).toBe(0);
  return jsonOf<TakenBase>(outcome);
}

interface Verified {
  backups: { ok: boolean; locked: string[]; deep: string[] | null }[];
}

async function verify(label: string, flags: string[], environment: Record<string, string> = {}) {
  const outcome = await bench.run('verify_backups', [label, '--json', ...flags], { environment });
  const [found] = jsonOf<Verified>(outcome).backups;
  return { ...found, status: outcome.status, stderr: outcome.stderr };
}

describe('with age, on a server that has public keys alone', () => {
  let taken: TakenBase;
  beforeAll(async () => {
    taken = await takeOne({ ...withAge(), READ_BACK: 'plain' });
  });
  const folder = () => join(bench.repository, taken.folder);

  it('is compared with the list of the server as it is written, and says so', async () => {
    const { files, read_back: readBack, warnings } = taken.manifest;
    expect(files.map(({ name }) => name).sort()).toEqual([
      'backup_manifest.age',
      'base.tar.zst.age',
      'restore.sh',
    ]);
    for (const { name, filters } of files.filter(({ role }) => role !== 'restore_script')) {
      expect(filters.at(-1)).toEqual({ name: 'age', recipients: [alice.recipient] });
      const head = (await readFile(join(folder(), name))).subarray(0, 21).toString();
      expect(head).toBe('age-encryption.org/v1');
    }
    expect(readBack.depth).toBe('stored');
    expect(warnings.map(({ code }) => code)).toContain('not-decrypted');
  });

  it('is verified from outside without a key, and to its last file with one', async () => {
    const { label } = taken.manifest;
    expect(await verify(label, [])).toMatchObject({ status: 0, locked: ['base.tar.zst.age'] });
    const wrong = await verify(label, ['--identity', mallory.identity]);
    expect(wrong).toMatchObject({ status: 0, ok: true, locked: ['base.tar.zst.age'] });
    const open = await verify(label, ['--deep', '--identity', alice.identity]);
    expect(open, open.stderr).toMatchObject({ status: 0, ok: true, locked: [], deep: [label] });
    const file = join(folder(), 'base.tar.zst.age');
    const whole = await readFile(file);
    await writeFile(file, flipped(whole));
    for (const flags of [[], ['--identity', alice.identity], ['--identity', mallory.identity]]) {
      expect(await verify(label, flags)).toMatchObject({ status: 4, ok: false });
    }
    await writeFile(file, whole);
    expect((await verify(label, [])).status).toBe(0);
  });

  it.each(['/bin/dash', '/bin/bash'])(
    'is restored by restore.sh and age under %s',
    async (shell) => {
      const copy = await copyBackup(folder(), join(place, `copy ${shell.slice(5)}`));
      const identity = join(place, "it's the key");
      await writeFile(identity, await readFile(alice.identity), { mode: 0o600 });
      const { osUser } = cluster;
      if (osUser !== null) await chown(identity, osUser.uid, osUser.gid);
      const wrong = join(place, 'another key');
      await writeFile(wrong, await readFile(mallory.identity), { mode: 0o644 });
      const script = join(copy, 'restore.sh');
      const pgdata = join(place, `restored ${shell.slice(5)}`);
      const none = await asServerUser(cluster, shell, [script, pgdata]);
      expect([none.status, none.stderr.includes(alice.recipient)]).toEqual([2, true]);
      const refused = await asServerUser(cluster, shell, [script, '--identity', wrong, pgdata]);
      expect(refused.status, refused.stderr).toBe(4);
      const flags = ['--identity', identity, pgdata];
      const restored = await asServerUser(cluster, shell, [script, ...flags]);
      expect(restored.status, restored.stderr).toBe(0);
      const server = await startRestored(cluster, pgdata, place);
      try {
        expect(await server.query('SELECT count(*) FROM t')).toBe('20000');
      } finally {
        await server.stop();
      }
    },
  );

  it('carries the next increment, whose chain needs the key', async () => {
    await cluster.sql('UPDATE t SET text = text WHERE i < 100');
    const next = await takeOne(withAge(), 'incremental');
    const { label, kind } = next.manifest;
    if (cluster.major < 17) {
      expect(next.fullInstead).toContain('has no incremental base backups');
    } else {
      expect([kind, next.manifest.parent]).toEqual(['incr', taken.manifest.label]);
      await rm(join(bench.repository, 'state/base_manifests'), { recursive: true });
      const without = await takeOne(withAge(), 'incremental');
      expect(without.fullInstead).toContain('cannot be decrypted here');
    }
    const open = await verify(label, ['--deep', '--identity', alice.identity]);
    expect(open, open.stderr).toMatchObject({ status: 0, ok: true, locked: [] });
    expect(open.deep?.at(-1)).toBe(label);
  });

  it('is read back whole where the key is at hand', async () => {
    const { manifest } = await takeOne({ ...withAge(), AGE_IDENTITY_FILE: alice.identity });
    expect(manifest.read_back.depth).toBeUndefined();
    expect((await verify(manifest.label, ['--identity', alice.identity])).locked).toEqual([]);
  });
});

describe('with gpg, of a cluster with tablespaces', () => {
  it.each(['zstd', 'none'])(
    'is staged, and verified to its last file (%s)',
    async (compression) => {
      const space = join(place, `space of ${compression}`);
      await mkdir(space, { mode: 0o700 });
      const { osUser } = cluster;
      if (osUser !== null) await chown(space, osUser.uid, osUser.gid);
      await cluster.sql(`CREATE TABLESPACE ${compression} LOCATION '${space}'`);
      await cluster.sql(
        `CREATE TABLE of_${compression} TABLESPACE ${compression} AS SELECT 1 AS a`,
      );
      const { manifest } = await takeOne({
        BACKUP_ENCRYPTION: 'gpg',
        GPG_RECIPIENTS: ring.fingerprint,
        GPG_HOME: publicHome,
        COMPRESSION: compression,
      });
      const { label, files, tablespaces } = manifest;
      expect(tablespaces.every(({ file }) => file.endsWith('.gpg'))).toBe(true);
      expect(files.filter(({ role }) => role === 'tablespace')).toHaveLength(tablespaces.length);
      const locked = await verify(label, [], { GPG_HOME: publicHome });
      expect(locked.locked).toHaveLength(tablespaces.length + 1);
      const open = await verify(label, ['--deep'], { GPG_HOME: ring.home });
      expect(open, open.stderr).toMatchObject({ status: 0, ok: true, locked: [], deep: [label] });
    },
  );
});
