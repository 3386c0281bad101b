/** A list of many backups in a bucket: what it asks for, the first time and after it. */

import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createCatalog } from '../../../../src/catalog/catalog.ts';
import { openRepository, type Repository } from '../../../../src/catalog/repository.ts';
import { HoldfastError } from '../../../../src/core/errors.ts';
import { manifestName } from '../../../../src/core/manifest.ts';
import { serializeManifest } from '../../../../src/core/manifest_codec.ts';
import { listBackups } from '../../../../src/operations/full/list.ts';
import { createLocalStorage } from '../../../../src/storage/local.ts';
import type { Storage, StoredObject } from '../../../../src/storage/storage.ts';
import { sampleContext, sampleManifest } from '../../../support/sample_backup.ts';
import { surveyable } from '../../../support/surveyable.ts';

/** Ten thousand would ask for ten times as much, and take as much longer to write down here. */
const backups = 1000;
const modifiedAt = new Date('2026-11-21T02:00:00Z');
const text = Buffer.from(serializeManifest(sampleManifest())).toString('utf8');
const sampleLabel = sampleManifest().label;

/** A minute between two of them. */
function labelOf(index: number): string {
  const at = new Date(Date.UTC(2020, 0, 1) + index * 60_000).toISOString();
  return `${at.replaceAll(/[-:]|\.\d+/g, '')}-daily-k3f9`;
}

/** Keys of objects that are made when they are read: it takes no disk. */
class Bucket implements Pick<Storage, 'list' | 'get' | 'identity' | 'unfinishedFolders'> {
  readonly keys = new Map<string, string>();

  add(label: string): void {
    const folder = `full/main/shop/${label}`;
    for (const name of ['SHA256SUMS', 'database.dump.zst', 'globals.sql.zst', 'restore.sh']) {
      this.keys.set(`${folder}/${name}`, label);
    }
    this.keys.set(`${folder}/${manifestName}`, label);
  }

  async *list(folder: string): AsyncGenerator<readonly StoredObject[]> {
    const keys = [...this.keys.keys()].filter((key) => key.startsWith(`${folder}/`));
    yield keys.map((key) => ({ key, bytes: 1, modifiedAt }));
  }

  async get(key: string): Promise<Readable> {
    const label = this.keys.get(key);
    if (label === undefined) throw new HoldfastError('BACKUP_NOT_FOUND', `there is no ${key}`);
    return Readable.from([Buffer.from(text.replaceAll(sampleLabel, label))]);
  }

  async identity(key: string): Promise<string | null> {
    return this.keys.has(key) ? `etag of ${key}` : null;
  }

  async unfinishedFolders(): Promise<readonly []> {
    return [];
  }
}

const bucket = new Bucket();
const requests: string[] = [];
let root: string;
let repository: Repository;

beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), 'holdfast-bucket-'));
  const local = await openRepository(join(root, 'r'), { create: true, now: new Date() });
  for (let index = 0; index < backups; index += 1) bucket.add(labelOf(index));
  const storage: Storage = new Proxy(createLocalStorage({ root }), {
    get: (target, name) => {
      const value: unknown = Reflect.get(bucket, name) ?? Reflect.get(target, name);
      return typeof value === 'function' ? value.bind(name in bucket ? bucket : target) : value;
    },
  });
  repository = { ...local, storage: surveyable(storage, requests) };
});
afterAll(() => rm(root, { recursive: true, force: true }));

async function list(filter = {}) {
  requests.length = 0;
  const context = sampleContext(repository, createCatalog(repository.storage));
  const { backups: listed } = await listBackups(context, filter);
  return { listed, asked: [...requests] };
}

describe('a thousand backups in a bucket', () => {
  it('are read one by one only the first time; then a page of a thousand objects at a time', async () => {
    const first = await list();
    expect(first.listed).toHaveLength(backups);
    expect(first.asked.filter((each) => each.startsWith('get '))).toHaveLength(backups);
    const second = await list();
    expect(second.listed).toEqual(first.listed);
    expect(second.asked.filter((each) => each.startsWith('get '))).toEqual([]);
    // 5 pages of objects, and one of checks: of ten thousand they are 51.
    expect(second.asked).toHaveLength(6);
  });

  it('of which one is new and one is gone are read as far as they are new', async () => {
    bucket.add(labelOf(backups));
    for (const [key, label] of bucket.keys) if (label === labelOf(3)) bucket.keys.delete(key);
    const { listed, asked } = await list();
    expect(listed).toHaveLength(backups);
    expect(listed.at(-1)?.label).toBe(labelOf(backups));
    expect(listed.some(({ label }) => label === labelOf(3))).toBe(false);
    expect(asked.filter((each) => each.startsWith('get '))).toHaveLength(1);
  });

  it('of another database are not looked at when one is named', async () => {
    const { listed, asked } = await list({ cluster: 'main', database: 'other' });
    expect(listed).toEqual([]);
    expect(asked.some((each) => each.startsWith('survey'))).toBe(false);
  });
});
