/** A store that tells all of it in one walk, as a bucket does, and what it was asked. */

import type { Storage, Survey } from '../../src/storage/storage.ts';

/** So many objects a bucket tells in one answer. */
const pageObjects = 1000;

async function survey(storage: Storage, folder: string): Promise<Survey> {
  const objects = (await Array.fromAsync(storage.list(folder))).flat();
  const told = await Promise.all(
    objects.map(async (object) => {
      const identity = await storage.identity(object.key);
      return { ...object, ...(identity === null ? {} : { identity }) };
    }),
  );
  return { objects: told, unfinishedFolders: await storage.unfinishedFolders(folder) };
}

/**
 * @param requests gets a line for everything that is asked: as many for a survey as a bucket has
 *   pages
 */
export function surveyable(storage: Storage, requests: string[]): Storage {
  return new Proxy(storage, {
    get(target, name) {
      if (name === 'survey') {
        return async (folder: string) => {
          const found = await survey(target, folder);
          const pages = Math.max(1, Math.ceil(found.objects.length / pageObjects));
          for (let page = 0; page < pages; page += 1) requests.push(`survey ${folder}`);
          return found;
        };
      }
      const value: unknown = Reflect.get(target, name, target);
      if (typeof value !== 'function') return value;
      return (...args: unknown[]) => {
        requests.push(`${String(name)} ${String(args[0] ?? '')}`);
        return value.apply(target, args);
      };
    },
  });
}
