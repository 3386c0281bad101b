/** The contract of stores, for a bucket of a real server. */

import { afterAll, beforeAll } from 'vitest';
import { createS3Storage } from '../../src/storage/s3.ts';
import { storageContract } from '../contract/storage.ts';
import type { StoreAbilities } from '../contract/storage_support.ts';
import { type S3Server, type S3ServerKind, startS3Server } from '../support/s3_server.ts';

const partBytesMin = 5 * 1024 * 1024;
const pageObjects = 60;

/** Holds a bucket of that kind of server against the contract. */
export function bucketContract(
  kind: S3ServerKind,
  abilities: Pick<StoreAbilities, 'refusesRaces' | 'faults'>,
): void {
  let server: S3Server;
  beforeAll(async () => {
    server = await startS3Server(kind);
  });
  afterAll(() => server?.stop());

  storageContract(`store in a bucket of ${kind}`, async () => {
    const bucket = await server.newBucket();
    const more = { prefix: 'a prefix/of two', partBytesMin, pageObjects };
    const storage = createS3Storage(server.optionsFor(bucket, more));
    return {
      storage,
      abilities: {
        ...abilities,
        hasFolders: false,
        begunBytes: partBytesMin + 1,
        manyObjects: 2 * pageObjects + 3,
      },
      close: () => storage.close(),
    };
  });
}
