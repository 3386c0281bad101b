/**
 * How long something has taken, kept in the repository's `state/`: the plan of the next time tells
 * from it how long it will take. Nothing depends on it; damaged, it begins anew.
 */

import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { withFileLock } from '../catalog/lock.ts';
import { toHoldfastError } from '../core/errors.ts';
import { type Static, type TSchema, Type } from '../core/type_builder.ts';
import { documentBytes, documentReader } from '../core/validate.ts';
import { errorNumber, replaceFile } from '../process/durable.ts';
import type { RepositoryContext } from './context.ts';

const ratesFormat = 1;
/** So many are remembered. */
const ratesMax = 100;
const lockWaitMs = 5_000;

/** Remembers what is of one kind. */
export interface RatesFile<Rate> {
  /** What was recorded, oldest first. What cannot be read is told, and is none. */
  read(context: RepositoryContext): Promise<Rate[]>;
  /** Remembers one more. What cannot be written is told, and fails nothing. */
  record(context: RepositoryContext, rate: Rate): Promise<void>;
}

/**
 * @param name of the file, without its `.json`
 * @param list the key of what is in it, and what several are called
 * @param one what one is called
 */
export function ratesFile<Schema extends TSchema, List extends string>(
  name: string,
  list: List,
  one: string,
  schema: Schema,
): RatesFile<Static<Schema>> {
  type Rate = Static<Schema>;
  const fileName = `${name}.json`;
  const document = Type.Object({
    format: Type.Literal(ratesFormat),
    [list]: Type.Array(schema, { maxItems: ratesMax }),
  });
  const parse = documentReader(document, { name: fileName, format: ratesFormat, code: 'DAMAGED' });

  async function readAll(stateDir: string): Promise<Rate[]> {
    try {
      const read = parse(await readFile(join(stateDir, fileName))) as Record<string, unknown>;
      return read[list] as Rate[];
    } catch (error) {
      if (errorNumber(error) === 'ENOENT') return [];
      throw toHoldfastError(error, `reading ${fileName}`);
    }
  }

  return {
    async read({ repository, log }) {
      try {
        return await readAll(repository.stateDir);
      } catch (error) {
        log.warn(`how long ${list} take is not known: ${toHoldfastError(error).message}`);
        return [];
      }
    },
    async record({ repository, log }, rate) {
      const { stateDir } = repository;
      try {
        await withFileLock(join(stateDir, `${name}.lock`), { waitMs: lockWaitMs }, async () => {
          const before = await readAll(stateDir).catch((): Rate[] => []);
          const rates = [...before, rate].slice(-ratesMax);
          const bytes = documentBytes({ format: ratesFormat, [list]: rates });
          await replaceFile(join(stateDir, fileName), bytes);
        });
      } catch (error) {
        log.warn(`how long this ${one} took is not recorded: ${toHoldfastError(error).message}`);
      }
    },
  };
}
