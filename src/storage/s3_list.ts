/** Looks at what lies in a bucket: single objects, pages, and which folders are not committed. */

import { type HeadObjectCommandOutput, ListObjectsV2Command } from '@aws-sdk/client-s3';
import { joinKey } from './key.ts';
import type { S3Connection } from './s3_connection.ts';
import type { S3Doing } from './s3_errors.ts';
import { headObject } from './s3_head.ts';
import {
  bucketFolder,
  commitName,
  folderOfMark,
  identityOf,
  isObjectKey,
  markOf,
  parentOf,
} from './s3_keys.ts';
import type { StoredObject, UnfinishedFolder } from './storage.ts';

/** So many folders are known to be committed at the most; then all are asked for again. */
const finishedMax = 10_000;

/** A page of a listing, without the prefix of the store. */
export interface Page {
  /** Objects of any key, marks too, in the order of S3. */
  readonly objects: readonly StoredObject[];
  /** Folders, where the listing is of one level: without the slash at the end. */
  readonly folders: readonly string[];
}

/** A page of a whole tree. */
export interface WalkedPage {
  /** As the port lists them. */
  readonly shown: readonly StoredObject[];
  /** In folders that are not committed. */
  readonly hidden: readonly StoredObject[];
  /** Such folders, whose objects come on this page or on later ones; and when they were begun. */
  readonly begun: readonly UnfinishedFolder[];
}

/** What can be asked about the objects of a bucket. */
export class S3Listing {
  readonly #connection: S3Connection;
  /** Folders that cannot be unfinished any more, unless they are removed and begun again. */
  readonly #finished = new Set<string>();
  #hasBucket = false;

  constructor(connection: S3Connection) {
    this.#connection = connection;
  }

  /** Pages of what lies in a folder, marks and all; `level`: directly in it only. */
  async *pages(folder: string, extent: 'tree' | 'level'): AsyncGenerator<Page> {
    const { bucket, prefix, pageObjects } = this.#connection.options;
    const doing: S3Doing = { verb: 'listing', key: folder, permission: 's3:ListBucket' };
    const before = bucketFolder(prefix, '').length;
    // Keys may hold what XML cannot.
    const keyOf = (encoded: string | undefined) =>
      decodeURIComponent((encoded ?? '').replaceAll('+', ' ')).slice(before);
    for (let token: string | undefined; ; ) {
      const answer = await this.#connection.send(doing, (client) =>
        client.send(
          new ListObjectsV2Command({
            Bucket: bucket,
            Prefix: bucketFolder(prefix, folder),
            EncodingType: 'url',
            MaxKeys: pageObjects,
            ...(extent === 'level' ? { Delimiter: '/' } : {}),
            ...(token === undefined ? {} : { ContinuationToken: token }),
          }),
        ),
      );
      this.#hasBucket = true;
      yield {
        objects: (answer.Contents ?? []).map(({ Key, Size, LastModified, ETag }) => {
          const [bytes, modifiedAt] = [Size ?? 0, LastModified ?? new Date(0)];
          return {
            key: keyOf(Key),
            bytes,
            modifiedAt,
            identity: identityOf(ETag, bytes, modifiedAt),
          };
        }),
        folders: (answer.CommonPrefixes ?? []).map(({ Prefix }) => keyOf(Prefix).slice(0, -1)),
      };
      token = answer.NextContinuationToken;
      if (answer.IsTruncated !== true || token === undefined) return;
    }
  }

  /** What HEAD tells of a key, marks too; `null`: nothing is there. */
  async head(key: string): Promise<HeadObjectCommandOutput | null> {
    const found = await headObject(this.#connection, key);
    // Whether a bucket is missing, or an object in it, is not told after a HEAD.
    if (found === null && !this.#hasBucket) await this.pages(markOf('bucket'), 'level').next();
    return found;
  }

  /** What the port tells of an object, whether its folder is committed or not. */
  async look(key: string): Promise<StoredObject | null> {
    const found = await this.head(key);
    if (found === null) return null;
    const [bytes, modifiedAt] = [found.ContentLength ?? 0, found.LastModified ?? new Date(0)];
    return { key, bytes, modifiedAt, identity: identityOf(found.ETag, bytes, modifiedAt) };
  }

  /** Whether the object that commits a folder is there. */
  async isCommitted(folder: string): Promise<boolean> {
    return (await this.head(joinKey(folder, commitName))) !== null;
  }

  /** Remembers that a folder is committed, or forgets it. */
  note(folder: string, isFinished: boolean): void {
    if (this.#finished.size >= finishedMax) this.#finished.clear();
    if (isFinished) this.#finished.add(folder);
    else this.#finished.delete(folder);
  }

  /** Whether a folder was begun and is not committed. */
  async isUnfinished(folder: string): Promise<boolean> {
    if (folder === '' || this.#finished.has(folder)) return false;
    const mark = await this.head(markOf(folder));
    const isBegun = mark !== null && (mark.ContentLength ?? 0) > 0;
    if (isBegun && !(await this.isCommitted(folder))) return true;
    this.note(folder, true);
    return false;
  }

  /** Whether an object that is there may be seen: it lies in no folder that is not committed. */
  async isVisible(key: string): Promise<boolean> {
    const folder = parentOf(key);
    // What commits a folder is seen as soon as it is there.
    if (key === joinKey(folder, commitName)) return true;
    return !(await this.isUnfinished(folder));
  }

  /** The folders whose marks are among these objects, and that are not committed. */
  async #begunIn(objects: readonly StoredObject[]): Promise<UnfinishedFolder[]> {
    const begun: UnfinishedFolder[] = [];
    for (const { key, bytes, modifiedAt } of objects) {
      const folder = bytes === 0 ? null : folderOfMark(key);
      if (folder === null || (await this.isCommitted(folder))) continue;
      begun.push({ folder, modifiedAt });
    }
    return begun;
  }

  /** Whether a listing of a folder shows something of a folder that is not committed itself. */
  async #isHidden(folder: string, { objects, folders }: Page): Promise<boolean> {
    if (objects.length + folders.length === 0) return false;
    const commit = joinKey(folder, commitName);
    if (objects.some(({ key }) => key === commit)) {
      this.note(folder, true);
      return false;
    }
    return this.isUnfinished(folder);
  }

  /** All of a folder and below it, told apart by whether it may be seen. */
  async *walk(folder: string): AsyncGenerator<WalkedPage> {
    const hidden = new Set<string>();
    let isFirst = true;
    for await (const page of this.pages(folder, 'tree')) {
      if (isFirst && (await this.#isHidden(folder, page))) return;
      isFirst = false;
      const begun = await this.#begunIn(page.objects);
      for (const each of begun) hidden.add(each.folder);
      const ours = page.objects.filter(({ key }) => isObjectKey(key));
      yield {
        shown: ours.filter(({ key }) => !hidden.has(parentOf(key))),
        hidden: ours.filter(({ key }) => hidden.has(parentOf(key))),
        begun,
      };
    }
  }

  /** The names of what lies directly in a folder, as the port tells them. */
  async children(folder: string): Promise<string[]> {
    const [names, hidden] = [new Set<string>(), new Set<string>()];
    let isFirst = true;
    for await (const page of this.pages(folder, 'level')) {
      if (isFirst && (await this.#isHidden(folder, page))) return [];
      isFirst = false;
      for (const { folder: each } of await this.#begunIn(page.objects)) hidden.add(each);
      for (const key of [...page.objects.map((object) => object.key), ...page.folders]) {
        if (isObjectKey(key)) names.add(key);
      }
    }
    const start = folder === '' ? 0 : folder.length + 1;
    return [...names]
      .filter((key) => !hidden.has(key))
      .map((key) => key.slice(start))
      .sort((a, b) => (a < b ? -1 : 1));
  }
}
