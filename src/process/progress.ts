/** Progress of long work: a bar on a terminal, a plain line now and then elsewhere. */

import type { Writable } from 'node:stream';
import type { SingleBar } from 'cli-progress';
import { printable } from '../core/printable.ts';
import { formatBytes, formatDuration } from '../core/units.ts';

/** How often a plain line is written where there is no terminal. */
const plainIntervalMs = 30_000;
/** How often the bar is drawn at most. */
const drawIntervalMs = 150;

/** The display of one piece of long work. */
export interface Progress {
  /** Tells that so many more bytes are done. */
  add(bytes: number): void;
  /** Says what is being done now. */
  rename(title: string): void;
  end(): void;
}

/** Where the progress of a run is shown. Several pieces of work may be under way at once. */
export interface ProgressBoard {
  /**
   * Shows another piece of work.
   *
   * @param totalBytes what is expected in all, or `null`; an estimate may be passed without harm
   */
  start(title: string, totalBytes: number | null): Promise<Progress>;
  /** Takes the bar away before a line is written; it comes back with the next bytes. */
  clear(): void;
}

export interface ProgressOptions {
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
export const noProgress: Progress = {
  add: () => undefined,
  rename: () => undefined,
  end: () => undefined,
};

/** A board on a stream: one bar on a terminal, however much is under way; lines elsewhere. */
export function createProgressBoard(options: ProgressOptions): ProgressBoard {
  return options.stream.isTTY === true ? new BarBoard(options) : createLineBoard(options);
}

/** A piece of work on a bar. */
interface Piece {
  title: string;
  totalBytes: number | null;
  bytes: number;
  ended: boolean;
}

/**
 * One bar for all that is under way. What has ended stays in the sum until the last one ends, so
 * that the bar never goes back.
 */
class BarBoard implements ProgressBoard {
  readonly #options: ProgressOptions;
  #pieces: Piece[] = [];
  #bar: SingleBar | null = null;
  #makeBar: (() => SingleBar) | null = null;
  #startedMs = 0;
  #drawnMs = 0;

  constructor(options: ProgressOptions) {
    this.#options = options;
  }

  async start(title: string, totalBytes: number | null): Promise<Progress> {
    this.#makeBar ??= await loadBar(this.#options);
    if (this.#pieces.length === 0) this.#startedMs = this.#options.clock();
    const piece = { title: printable(title), totalBytes, bytes: 0, ended: false };
    this.#pieces.push(piece);
    this.#draw();
    return {
      add: (more) => {
        piece.bytes += more;
        if (this.#options.clock() - this.#drawnMs >= drawIntervalMs) this.#draw();
      },
      rename: (text) => {
        piece.title = printable(text);
      },
      end: () => this.#end(piece),
    };
  }

  clear(): void {
    this.#bar?.stop();
    this.#bar = null;
  }

  #end(piece: Piece): void {
    piece.ended = true;
    piece.totalBytes = piece.bytes;
    if (this.#pieces.some(({ ended }) => !ended)) return;
    this.#pieces = [];
    this.clear();
  }

  #draw(): void {
    if (this.#makeBar === null) return;
    const nowMs = this.#options.clock();
    this.#drawnMs = nowMs;
    const running = this.#pieces.filter(({ ended }) => !ended);
    const [first] = running;
    const title = running.length === 1 ? first?.title : `${running.length} at once`;
    const bytes = this.#pieces.reduce((sum, piece) => sum + piece.bytes, 0);
    const totalBytes = this.#pieces.reduce<number | null>(
      (sum, piece) => (sum === null || piece.totalBytes === null ? null : sum + piece.totalBytes),
      0,
    );
    const text = describeProgress(bytes, totalBytes, (nowMs - this.#startedMs) / 1000);
    const full = Math.max(totalBytes ?? 1, bytes, 1);
    const filled = totalBytes === null ? 0 : bytes;
    if (this.#bar === null) {
      this.#bar = this.#makeBar();
      this.#bar.start(full, filled, { title, text });
    } else {
      this.#bar.setTotal(full);
      this.#bar.update(filled, { title, text });
    }
  }
}

async function loadBar({ stream }: ProgressOptions): Promise<() => SingleBar> {
  const { SingleBar } = await import('cli-progress');
  return () =>
    new SingleBar({
      stream,
      format: '{title} {bar} {text}',
      barsize: 24,
      hideCursor: true,
      clearOnComplete: true,
      linewrap: false,
      barCompleteChar: '█',
      barIncompleteChar: '░',
    });
}

/** Where there is no terminal: each piece of work has its own line now and then. */
function createLineBoard({ stream, clock }: ProgressOptions): ProgressBoard {
  return {
    async start(firstTitle, totalBytes) {
      const startedMs = clock();
      let title = firstTitle;
      let bytes = 0;
      let writtenMs = startedMs;
      return {
        rename(text) {
          title = text;
        },
        add(more) {
          bytes += more;
          const nowMs = clock();
          if (nowMs - writtenMs < plainIntervalMs) return;
          writtenMs = nowMs;
          const text = describeProgress(bytes, totalBytes, (nowMs - startedMs) / 1000);
          stream.write(`${printable(title)}: ${text}\n`);
        },
        end: () => undefined,
      };
    },
    clear: () => undefined,
  };
}
