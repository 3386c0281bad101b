/**
 * The marks of folders that are not committed (s3_keys.ts). They are no objects of the repository:
 * a mark is overwritten when somebody else takes the folder over in order to remove it.
 */

import { randomUUID } from 'node:crypto';
import { DeleteObjectCommand, GetObjectCommand, PutObjectCommand } from '@aws-sdk/client-s3';
import {
  identityName,
  ownIdentity,
  type ProcessIdentity,
  parseIdentityName,
} from '../process/identity.ts';
import { encryptionOf } from './s3_attributes.ts';
import type { S3Connection } from './s3_connection.ts';
import type { S3Doing } from './s3_errors.ts';
import { isConditionFailed, isMissing, isNotImplemented, readFailure } from './s3_failure.ts';
import { indexEntryOf, markOf } from './s3_keys.ts';
import { existsError } from './store_errors.ts';

/** What this process writes into one mark, and no other process into any. */
export function newOwner(): string {
  return `${identityName(ownIdentity())}~${randomUUID()}`;
}

/** Who has written a mark; `null`: it does not tell, as those of earlier versions. */
export function writerOf(owner: string): ProcessIdentity | null {
  return parseIdentityName(owner);
}

/** The marks of one bucket. */
export class S3Marks {
  readonly #connection: S3Connection;

  constructor(connection: S3Connection) {
    this.#connection = connection;
  }

  #place(key: string) {
    return { Bucket: this.#connection.options.bucket, Key: this.#connection.keyOf(key) };
  }

  /** Writes a small object. @throws what the SDK throws */
  async #put(key: string, text: string, condition: { IfNoneMatch?: string } = {}): Promise<void> {
    const Body = Buffer.from(text);
    const about = encryptionOf(this.#connection.options);
    await this.#connection.trySend((client) =>
      client.send(new PutObjectCommand({ ...this.#place(key), ...about, ...condition, Body })),
    );
  }

  /** What is written in the mark of a folder; `null`: there is none. */
  async read(folder: string): Promise<string | null> {
    const doing: S3Doing = { verb: 'reading', key: markOf(folder), permission: 's3:GetObject' };
    try {
      return await this.#connection.trySend(async (client) => {
        const answer = await client.send(new GetObjectCommand(this.#place(markOf(folder))));
        return (await answer.Body?.transformToString()) ?? '';
      });
    } catch (error) {
      if (isMissing(readFailure(error))) return null;
      throw this.#connection.error(error, doing);
    }
  }

  /**
   * Marks a folder that nobody else has begun. Whether the server honours conditions is seen on
   * the way: what was written just now is written once more, on condition that it is not there.
   *
   * @throws HoldfastError STORE_EXISTS when somebody else has
   */
  async begin(folder: string, owner: string): Promise<void> {
    const { description, abilities } = this.#connection;
    const doing: S3Doing = { verb: 'writing', key: folder, permission: 's3:PutObject' };
    try {
      await this.#put(indexEntryOf(folder), owner);
      const isNew = await this.#putNew(folder, owner);
      if (isNew && abilities.conditions === 'honoured') return;
      if (isNew && abilities.conditions === 'unknown') {
        abilities.conditions = (await this.#putNew(folder, owner)) ? 'ignored' : 'honoured';
      }
    } catch (error) {
      throw this.#connection.error(error, doing);
    }
    // Of two who begin at once the second one has the mark, where nothing keeps it from that; and
    // what is refused may be our own, sent twice.
    if ((await this.read(folder)) !== owner) throw existsError(folder, description);
  }

  /** Writes a mark where none is. @returns whether it was written */
  async #putNew(folder: string, owner: string): Promise<boolean> {
    const { abilities } = this.#connection;
    const key = markOf(folder);
    if (abilities.conditions !== 'honoured') {
      const before = await this.read(folder);
      // One without bytes is what a key has left that may not delete.
      if (before !== null && before !== '' && before !== owner) return false;
      if (before === '' || abilities.conditions === 'refused') {
        await this.#put(key, owner);
        return true;
      }
    }
    try {
      await this.#put(key, owner, { IfNoneMatch: '*' });
      return true;
    } catch (error) {
      const failure = readFailure(error);
      if (isConditionFailed(failure)) return this.#replaceEmpty(folder, owner);
      if (!isNotImplemented(failure)) throw error;
      abilities.conditions = 'refused';
      await this.#put(key, owner);
      return true;
    }
  }

  /** A mark without bytes is none. @returns whether it was such a one, and is ours now */
  async #replaceEmpty(folder: string, owner: string): Promise<boolean> {
    this.#connection.abilities.conditions = 'honoured';
    if ((await this.read(folder)) !== '') return false;
    await this.#put(markOf(folder), owner);
    return true;
  }

  /** Takes a folder over, whoever has begun it: he notices before his commit. */
  async take(folder: string, owner: string): Promise<void> {
    const doing: S3Doing = { verb: 'removing', key: folder, permission: 's3:PutObject' };
    try {
      await this.#put(indexEntryOf(folder), owner);
      await this.#put(markOf(folder), owner);
    } catch (error) {
      throw this.#connection.error(error, doing);
    }
  }

  /** Removes the mark of a folder. A key that may not delete leaves it without bytes. */
  async erase(folder: string): Promise<void> {
    await this.#erase(markOf(folder));
    await this.#erase(indexEntryOf(folder));
  }

  async #erase(key: string): Promise<void> {
    const doing: S3Doing = { verb: 'removing', key, permission: 's3:DeleteObject' };
    try {
      await this.#connection.trySend((client) =>
        client.send(new DeleteObjectCommand(this.#place(key))),
      );
    } catch (error) {
      if (readFailure(error).status !== 403) throw this.#connection.error(error, doing);
      await this.#put(key, '').catch(() => {
        throw this.#connection.error(error, doing);
      });
    }
  }
}
