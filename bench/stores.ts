/** A bucket beside the local disk, and encryption: what each adds to a backup and to a restore. */

import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { loadConfig } from '../src/config/load.ts';
import { HoldfastError } from '../src/core/errors.ts';
import { shellQuote } from '../src/core/quote.ts';
import { timeScript } from './measure.ts';
import type { Contender, Group } from './run_group.ts';
import type { Scene } from './scene.ts';

const target = 'bench_restored';

type Variables = Readonly<Record<string, string>>;

function withVariables(variables: Variables, script: string): string {
  const words = Object.entries(variables).map(([name, value]) => `${name}=${shellQuote(value)}`);
  return words.length === 0 ? script : `export ${words.join(' ')}\n${script}`;
}

/** A bucket: what makes it the only store of a command, and the key, which no script may hold. */
interface Bucket {
  readonly place: Variables;
  readonly key: Variables;
}

/** The bucket that the environment names; nothing of it is removed. */
async function givenBucket(scene: Scene): Promise<Bucket> {
  const projectDir = join(import.meta.dirname, '..');
  const empty = join(scene.folder, 'empty');
  const input = { projectDir, cwd: projectDir, flags: {}, envFile: empty, configFile: empty };
  const { s3 } = (await loadConfig(input)).settings;
  const { bucket, endpoint, region, access_key_id: id, secret_access_key: secret } = s3;
  if (bucket === null) {
    throw new HoldfastError('USAGE', 'the group stores needs a bucket: set BACKUP_BUCKET', {
      hint: 'Set AWS_ENDPOINT_URL_S3 and the access key beside it: docs/performance.md.',
    });
  }
  return {
    place: {
      LOCAL_COPY: 'false',
      BACKUP_BUCKET: bucket,
      ...(endpoint === null ? {} : { AWS_ENDPOINT_URL_S3: endpoint }),
      ...(region === null ? {} : { AWS_REGION: region }),
    },
    key: {
      ...(id === null ? {} : { AWS_ACCESS_KEY_ID: id }),
      ...(secret === null ? {} : { AWS_SECRET_ACCESS_KEY: secret.reveal() }),
    },
  };
}

/** Makes a key of age. @returns what encrypts for it, and what also decrypts */
async function makeKey(scene: Scene): Promise<{ encrypts: Variables; decrypts: Variables }> {
  const { environment, folder, signal } = scene;
  const [identity, recipients] = [join(folder, 'identity'), join(folder, 'recipients')];
  const [key, list] = [shellQuote(identity), shellQuote(recipients)];
  const text = `rm -f ${key}\nage-keygen --output ${key}\nage-keygen -y ${key} > ${list}`;
  await timeScript({ text, environment, signal });
  const encrypts = { BACKUP_ENCRYPTION: 'age', AGE_RECIPIENTS: recipients };
  return { encrypts, decrypts: { ...encrypts, AGE_IDENTITY_FILE: identity } };
}

function backup(scene: Scene, name: string, variables: Variables): Contender {
  const words = scene.ours('backup_full.ts', 'bench', '--type', 'manual', '--quiet');
  const repository = join(scene.folder, 'repository');
  return {
    name,
    script: withVariables(variables, words),
    isOurs: true,
    after: () => rm(repository, { recursive: true, force: true }),
  };
}

function restore(scene: Scene, name: string, variables: Variables): Contender {
  const drop = `DROP DATABASE IF EXISTS ${target}`;
  const flags = ['--target-database', target, '--force', '--quiet', '--jobs', '2'];
  return {
    name,
    script: withVariables(
      variables,
      scene.ours('restore_backup.ts', '--latest', 'bench', ...flags),
    ),
    isOurs: true,
    before: () => scene.sql('postgres', drop, 'CHECKPOINT'),
    after: () => scene.sql('postgres', drop),
  };
}

/** Backups to the local disk, to a bucket on this machine, and encrypted. */
export async function storeBackupGroup(scene: Scene): Promise<Group> {
  const [floor, encrypted] = ['backup_full.ts, local disk', 'the same, encrypted with age'];
  const remote = 'the same, into a bucket alone';
  const { encrypts } = await makeKey(scene);
  const { place, key } = await givenBucket(scene);
  return {
    title: 'Backup into a bucket, and encrypted',
    floor,
    contenders: [
      backup(scene, floor, {}),
      backup(scene, encrypted, encrypts),
      backup(scene, remote, place),
    ],
    environment: key,
    goals: [
      { contender: encrypted, of: floor, key: 'wall', atMost: 1.1 },
      { contender: remote, of: floor, key: 'wall', atMost: 1.15 },
    ],
  };
}

/** Restores of the same backups. */
export async function storeRestoreGroup(scene: Scene): Promise<Group> {
  const floor = 'restore_backup.ts --jobs 2, local disk';
  const remote = 'the same, from a bucket';
  const { environment, folder, signal } = scene;
  const { encrypts, decrypts } = await makeKey(scene);
  const { place, key } = await givenBucket(scene);
  const encrypted = { BACKUP_DIR: join(folder, 'encrypted') };
  const words = scene.ours('backup_full.ts', 'bench', '--quiet');
  for (const variables of [{}, { ...encrypts, ...encrypted }, place]) {
    const text = withVariables(variables, words);
    await timeScript({ text, environment: { ...environment, ...key }, signal });
  }
  return {
    title: 'Restore from a bucket, and encrypted',
    floor,
    contenders: [
      restore(scene, floor, {}),
      restore(scene, 'the same, encrypted with age', { ...decrypts, ...encrypted }),
      restore(scene, remote, place),
    ],
    environment: key,
    goals: [{ contender: remote, of: floor, key: 'wall', atMost: 1.2 }],
  };
}
