/** A bucket beside the local disk, and encryption: what each adds to a backup and to a restore. */

import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { shellQuote } from '../src/core/quote.ts';
import { type S3Server, type S3ServerKind, startS3Server } from '../test/support/s3_server.ts';
import { timeScript } from './measure.ts';
import type { Contender, Group } from './run_group.ts';
import type { Scene } from './scene.ts';

const target = 'bench_restored';
const kinds: readonly S3ServerKind[] = ['moto', 'radosgw'];

/** A bucket on this machine, and how a command finds it. */
interface Bucket {
  readonly name: string;
  readonly variables: Readonly<Record<string, string>>;
}

type Variables = Readonly<Record<string, string>>;

function withVariables(variables: Variables, script: string): string {
  const words = Object.entries(variables).map(([name, value]) => `${name}=${shellQuote(value)}`);
  return words.length === 0 ? script : `export ${words.join(' ')}\n${script}`;
}

async function openBuckets(servers: S3Server[]): Promise<Bucket[]> {
  const buckets: Bucket[] = [];
  for (const kind of kinds) {
    const server = await startS3Server(kind);
    servers.push(server);
    const variables = {
      LOCAL_COPY: 'false',
      BACKUP_BUCKET: await server.newBucket(),
      AWS_ENDPOINT_URL_S3: server.endpoint,
      AWS_REGION: 'us-east-1',
      AWS_ACCESS_KEY_ID: server.accessKeyId,
      AWS_SECRET_ACCESS_KEY: server.secretAccessKey,
    };
    buckets.push({ name: kind, variables });
  }
  return buckets;
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
  const servers: S3Server[] = [];
  const floor = 'backup_full.ts, local disk';
  const close = async () => {
    for (const server of servers) await server.stop();
  };
  try {
    const buckets = await openBuckets(servers);
    const { encrypts } = await makeKey(scene);
    return {
      title: 'Backup into a bucket, and encrypted',
      floor,
      contenders: [
        backup(scene, floor, {}),
        backup(scene, 'the same, encrypted with age', encrypts),
        ...buckets.map(({ name, variables }) => backup(scene, `to ${name} alone`, variables)),
      ],
      goals: [
        { contender: 'the same, encrypted with age', of: floor, key: 'wall', atMost: 1.1 },
        ...kinds.map(
          (kind) =>
            ({ contender: `to ${kind} alone`, of: floor, key: 'wall', atMost: 1.15 }) as const,
        ),
      ],
      close,
    };
  } catch (error) {
    await close();
    throw error;
  }
}

/** Restores of the same backups. */
export async function storeRestoreGroup(scene: Scene): Promise<Group> {
  const servers: S3Server[] = [];
  const floor = 'restore_backup.ts --jobs 2, local disk';
  const close = async () => {
    for (const server of servers) await server.stop();
  };
  try {
    const buckets = await openBuckets(servers);
    const { encrypts, decrypts } = await makeKey(scene);
    const { environment, folder, signal } = scene;
    const encrypted = { BACKUP_DIR: join(folder, 'encrypted') };
    const words = scene.ours('backup_full.ts', 'bench', '--quiet');
    const places: Variables[] = [
      {},
      { ...encrypts, ...encrypted },
      ...buckets.map(({ variables }) => variables),
    ];
    for (const variables of places) {
      await timeScript({ text: withVariables(variables, words), environment, signal });
    }
    return {
      title: 'Restore from a bucket, and encrypted',
      floor,
      contenders: [
        restore(scene, floor, {}),
        restore(scene, 'the same, encrypted with age', { ...decrypts, ...encrypted }),
        ...buckets.map(({ name, variables }) => restore(scene, `from ${name}`, variables)),
      ],
      goals: kinds.map(
        (kind) => ({ contender: `from ${kind}`, of: floor, key: 'wall', atMost: 1.2 }) as const,
      ),
      close,
    };
  } catch (error) {
    await close();
    throw error;
  }
}
