/**
 * Real S3 servers for tests, out of the lab's image (test/lab/images.sh), on the host's network, so
 * that no bridge is needed: moto, which answers as Amazon S3 does; and radosgw, Ceph's gateway on
 * SQLite, which checks signatures and every byte, and knows neither conditions nor Object Lock.
 *
 * That backend of radosgw is young (20.2): of an object in parts it gives back the last part alone,
 * of a range the wrong bytes, of a level the first page, of uploads no list (seen with the SDK
 * alone). What is written there has to fit into one part: `partBytesMin`.
 */

import { randomBytes } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { CreateBucketCommand, S3Client } from '@aws-sdk/client-s3';
import { GenericContainer, type StartedTestContainer } from 'testcontainers';
import { Secret } from '../../src/core/secret.ts';
import { type S3Options, s3Defaults } from '../../src/storage/s3_options.ts';

export type S3ServerKind = 'moto' | 'radosgw';

/** A server that runs. */
export interface S3Server {
  readonly kind: S3ServerKind;
  /** `http://127.0.0.1:<port>` */
  readonly endpoint: string;
  readonly port: number;
  readonly accessKeyId: string;
  readonly secretAccessKey: string;
  /** Makes a bucket of a name of its own. @returns the name */
  newBucket(isLocked?: boolean): Promise<string>;
  /** What opens a bucket of this server as a store. */
  optionsFor(bucket: string, more?: Partial<S3Options>): S3Options;
  /** The SDK's own client, for looking past the port. */
  client(): S3Client;
  stop(): Promise<void>;
}

const imageVariable = 'HOLDFAST_IMAGE_S3';
/** Names the file that test/run.sh puts in place when all images are built, or cannot be. */
const fileVariable = 'HOLDFAST_IMAGES_FILE';

/** The image, as soon as it is built. */
async function s3Image(): Promise<string> {
  const given = process.env[imageVariable];
  if (given !== undefined && given !== '') return given;
  const file = process.env[fileVariable];
  if (file === undefined) {
    throw new Error(`neither ${imageVariable} nor ${fileVariable} is set: run it by \`npm test\``);
  }
  for (;;) {
    const text = await readFile(file, 'utf8').catch(() => null);
    const image = text?.match(new RegExp(`^${imageVariable}=(.+)$`, 'm'))?.[1];
    if (image !== undefined) return image;
    if (text !== null) throw new Error(`the images could not be built: see ${file}.log`);
    await sleep(500);
  }
}

async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const address = server.address();
  await new Promise((resolve) => server.close(resolve));
  if (address === null || typeof address === 'string') throw new Error('there is no port');
  return address.port;
}

const radosgwScript = `set -eu
mkdir -p /tmp/gateway
store='--no-mon-config --rgw_backend_store=dbstore --rgw_config_store=dbstore
  --dbstore_db_dir=/tmp/gateway --dbstore_config_uri=file:/tmp/gateway/config.db
  --rgw_data=/tmp/gateway --run_dir=/tmp/gateway --keyring=/tmp/gateway/keyring'
radosgw-admin $store user create --uid=holdfast --display-name=holdfast \\
  --access-key="$1" --secret-key="$2"
exec radosgw $store -d --rgw_frontends="beast endpoint=127.0.0.1:$3 tcp_nodelay=1" \\
  --admin_socket=/tmp/gateway/admin.sock
`;

function commandOf(kind: S3ServerKind, keys: readonly [string, string], port: number): string[] {
  if (kind === 'moto') return ['moto_server', '-H', '127.0.0.1', '-p', `${port}`];
  return ['sh', '-c', radosgwScript, 'sh', ...keys, `${port}`];
}

/** Waits until the server answers at all. */
async function untilItAnswers(endpoint: string, container: StartedTestContainer): Promise<void> {
  const deadline = performance.now() + 60_000;
  for (;;) {
    const answer = await fetch(endpoint).catch(() => null);
    await answer?.body?.cancel();
    if (answer !== null) return;
    if (performance.now() > deadline) {
      await container.stop();
      throw new Error(`the server at ${endpoint} does not answer`);
    }
    await sleep(100);
  }
}

/**
 * Starts a server in a container of its own, with what it stores in memory.
 *
 * @throws Error where there is no container engine, or the image cannot be built
 */
export async function startS3Server(kind: S3ServerKind): Promise<S3Server> {
  const image = await s3Image();
  const port = await freePort();
  const accessKeyId = `HOLDFAST${randomBytes(6).toString('hex').toUpperCase()}`;
  const secretAccessKey = randomBytes(20).toString('hex');
  const container = await new GenericContainer(image)
    .withNetworkMode('host')
    .withTmpFs({ '/tmp': 'rw,size=3g' })
    .withCommand(commandOf(kind, [accessKeyId, secretAccessKey], port))
    .start();
  const endpoint = `http://127.0.0.1:${port}`;
  await untilItAnswers(endpoint, container);
  const client = new S3Client({
    endpoint,
    region: 'us-east-1',
    forcePathStyle: true,
    credentials: { accessKeyId, secretAccessKey },
    requestChecksumCalculation: 'WHEN_REQUIRED',
  });
  return {
    kind,
    endpoint,
    port,
    accessKeyId,
    secretAccessKey,
    async newBucket(isLocked = false) {
      const Bucket = `bucket-${randomBytes(6).toString('hex')}`;
      const lock = isLocked ? { ObjectLockEnabledForBucket: true } : {};
      await client.send(new CreateBucketCommand({ Bucket, ...lock }));
      return Bucket;
    },
    optionsFor: (bucket, more = {}) => ({
      ...s3Defaults,
      bucket,
      endpoint,
      region: 'us-east-1',
      credentials: {
        accessKeyId,
        secretAccessKey: new Secret(secretAccessKey),
        sessionToken: null,
      },
      ...more,
    }),
    client: () => client,
    async stop() {
      client.destroy();
      await container.stop();
    },
  };
}
