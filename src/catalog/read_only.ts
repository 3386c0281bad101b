/** A store from which is only read: a decorator with the same face. */

import { HoldfastError } from '../core/errors.ts';
import type { Storage } from '../storage/storage.ts';

const writing: ReadonlySet<PropertyKey> = new Set<keyof Storage>([
  'put',
  'remove',
  'removeFolder',
  'removeIfEmpty',
  'removeUnfinished',
  'createFolder',
]);

/** The same store, which refuses to be written (STORE_REFUSED). */
export function readOnly(storage: Storage): Storage {
  return new Proxy(storage, {
    get(target, name) {
      if (writing.has(name)) {
        return async () => {
          const text = `the ${target.description} is only read here`;
          throw new HoldfastError('STORE_REFUSED', text);
        };
      }
      const value: unknown = Reflect.get(target, name, target);
      return typeof value === 'function' ? value.bind(target) : value;
    },
  });
}
