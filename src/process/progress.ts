/** Progress of long work: a bar on a terminal, a plain line now and then elsewhere. */

import type { Writable } from 'node:stream';
import type { SingleBar } from 'cli-progress';
import { formatBytes, formatDuration } from '../core/units.ts';

/** How often a plain line is written where there is no terminal. */
const plainIntervalMs = 30_000;
/** How often the bar is drawn at most. */
const drawIntervalMs = 150;

/** The display of one piece of long work. */
export interface Progress {
  /** Tells that so many more bytes are done. */
  add(bytes: number): void;
  end(): void;
}

export interface ProgressOptions {
  readonly title: string;
  /** What is expected in all, or `null`; an estimate may be passed without harm. */
  readonly totalBytes: number | null;
  readonly stream: Writable & { readonly isTTY?: boolean };
  /** In milliseconds, monotonic. */
  readonly clock: () => number;
}

/** What the bar and the plain line say: `412 MB of 1.1 GB, 210 MB/s, 3 s left`. */
export function describeProgress(
  bytes: number,
  totalBytes: number | null,
  elapsedSeconds: number,
): string {
  const rate = elapsedSeconds > 0 ? bytes / elapsedSeconds : 0;
  const parts = [
    totalBytes === null || totalBytes < bytes
      ? formatBytes(bytes)
      : `${formatBytes(bytes)} of about ${formatBytes(totalBytes)}`,
    `${formatBytes(rate)}/s`,
  ];
  if (totalBytes !== null && totalBytes > bytes && rate > 0 && elapsedSeconds >= 1) {
    parts.push(`${formatDuration((totalBytes - bytes) / rate)} left`);
  }
  return parts.join(', ');
}

/** A progress display that shows nothing, for `--quiet` and `--json`. */
export const noProgress: Progress = { add: () => undefined, end: () => undefined };

/** Starts a progress display. */
export async function startProgress(options: ProgressOptions): Promise<Progress> {
  return options.stream.isTTY === true ? startBar(options) : startLines(options);
}

async function startBar(options: ProgressOptions): Promise<Progress> {
  const { SingleBar } = await import('cli-progress');
  const { title, totalBytes, clock } = options;
  const startedMs = clock();
  const bar: SingleBar = new SingleBar({
    stream: options.stream,
    format: `${title} {bar} {text}`,
    barsize: 24,
    hideCursor: true,
    clearOnComplete: true,
    linewrap: false,
    barCompleteChar: '█',
    barIncompleteChar: '░',
  });
  let bytes = 0;
  let drawnMs = 0;
  bar.start(Math.max(totalBytes ?? 1, 1), 0, { text: '' });
  return {
    add(more) {
      bytes += more;
      const nowMs = clock();
      if (nowMs - drawnMs < drawIntervalMs) return;
      drawnMs = nowMs;
      if (totalBytes !== null && bytes > totalBytes) bar.setTotal(bytes);
      const text = describeProgress(bytes, totalBytes, (nowMs - startedMs) / 1000);
      bar.update(totalBytes === null ? 0 : bytes, { text });
    },
    end() {
      bar.stop();
    },
  };
}

function startLines(options: ProgressOptions): Progress {
  const { title, totalBytes, stream, clock } = options;
  const startedMs = clock();
  let bytes = 0;
  let writtenMs = startedMs;
  return {
    add(more) {
      bytes += more;
      const nowMs = clock();
      if (nowMs - writtenMs < plainIntervalMs) return;
      writtenMs = nowMs;
      const text = describeProgress(bytes, totalBytes, (nowMs - startedMs) / 1000);
      stream.write(`${title}: ${text}\n`);
    },
    end: () => undefined,
  };
}
