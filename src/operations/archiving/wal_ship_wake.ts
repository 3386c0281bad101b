/** Wakes the resident helper when something may have changed in a folder. */

import { type FSWatcher, watch } from 'node:fs';
import { stat } from 'node:fs/promises';

/** Waits for changes; where the system tells of none, the time-out is what is left. */
export interface Waker {
  /** Watches a folder, in place of the one before; one that was replaced is found again. */
  follow(folder: string): Promise<void>;
  wake(): void;
  /** Resolves when something has happened since the last wait, after a time, or on the signal. */
  wait(ms: number): Promise<void>;
  close(): void;
}

/** @param signal wakes for good */
export function createWaker(signal: AbortSignal): Waker {
  let isWoken = false;
  let resolveWait: (() => void) | null = null;
  let watcher: FSWatcher | null = null;
  let watched = '';

  function wake(): void {
    isWoken = true;
    resolveWait?.();
  }
  function unwatch(): void {
    watcher?.close();
    watcher = null;
    watched = '';
  }
  signal.addEventListener('abort', wake, { once: true });

  return {
    wake,
    async follow(folder) {
      const stats = await stat(folder).catch(() => null);
      const found = stats === null ? '' : `${stats.dev}-${stats.ino}-${folder}`;
      if (found === watched) return;
      unwatch();
      if (stats === null) return;
      try {
        // Some file systems, and a limit of the system, allow no watching: then the clock is left.
        watcher = watch(folder, wake);
        watcher.on('error', unwatch);
        watched = found;
      } catch {
        unwatch();
      }
    },
    async wait(ms) {
      if (!isWoken && !signal.aborted) {
        await new Promise<void>((resolve) => {
          const timer = setTimeout(resolve, ms);
          resolveWait = () => {
            clearTimeout(timer);
            resolve();
          };
        });
        resolveWait = null;
      }
      isWoken = false;
    },
    close() {
      signal.removeEventListener('abort', wake);
      unwatch();
    },
  };
}
