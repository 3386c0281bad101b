/**
 * Streams the WAL of a server into the repository: supervises pg_receivewal, carries what it has
 * completed into the archive, watches the slot, and says what is wrong and when it is right again.
 */

import { setTimeout as sleep } from 'node:timers/promises';
import { withFileLock } from '../../catalog/lock.ts';
import { openWalArchive } from '../../catalog/wal_archive.ts';
import { type ErrorCode, type HoldfastError, toHoldfastError } from '../../core/errors.ts';
import { formatLsn } from '../../core/lsn.ts';
import { printable } from '../../core/printable.ts';
import { slotWarnings } from '../../core/stream_slot.ts';
import { describeReceiveFailure, isWalRemoved } from '../../postgres/receivewal.ts';
import { readSlot } from '../../postgres/replication_slot.ts';
import { runBeside } from '../archiving/wal_carry_crew.ts';
import type { RepositoryContext } from '../context.ts';
import { Carrier } from './wal_stream_carry.ts';
import { endOrphan, type Receiver, startReceiver, streamLock } from './wal_stream_child.ts';
import { streamedCluster, withStreamServer } from './wal_stream_server.ts';
import { prepareStream, type StreamStart } from './wal_stream_start.ts';

/** What is asked for. */
export interface StreamRequest {
  /** The name of the slot; else that of the claim or of the cluster. */
  readonly slot: string | undefined;
  /** Ends when everything up to now is here, and with the first failure. */
  readonly once: boolean;
}

/** What a stream has done until it was ended. */
export interface StreamResult {
  readonly cluster: string;
  readonly slot: string | null;
  /** Files that were put into the archive. */
  readonly carried: number;
  /** How often pg_receivewal has ended although nobody asked it to. */
  readonly failures: number;
  /** `--once`: up to here everything is on this machine's disk. */
  readonly received_lsn: string | null;
  readonly warnings: readonly string[];
}

/** How often is looked for what is complete. */
const pollMs = 500;
/** The slot is looked at soon after a start, and then so often. */
const firstLookSeconds = 2;
const lookSeconds = 30;
/** Between two tries, doubled each time. */
const restMsMin = 1_000;
const restMsMax = 60_000;
/** Whoever has run so long begins with short rests again. */
const steadySeconds = 60;
/** The same trouble is told again after this time. */
const repeatSeconds = 3_600;

/** What does not mend itself: another try would say the same. */
const finalCodes: ReadonlySet<ErrorCode> = new Set([
  'ARCHIVE_CLAIMED',
  'USAGE',
  'CONFIG_INVALID',
  'WRONG_USER',
  'PROGRAM_MISSING',
  'TOOL_TOO_OLD',
  'PATH_REFUSED',
  'UNEXPECTED',
]);

/** Tells each trouble once, and again only after a while or when it is another one. */
class Alarms {
  readonly warnings: string[] = [];
  readonly #context: RepositoryContext;
  readonly #told = new Map<string, { readonly text: string; readonly seconds: number }>();

  constructor(context: RepositoryContext) {
    this.#context = context;
  }

  raise(kind: string, text: string, code?: ErrorCode): void {
    const now = this.#context.stopwatch();
    const last = this.#told.get(kind);
    if (last?.text === text && now - last.seconds < repeatSeconds) return;
    this.#told.set(kind, { text, seconds: now });
    this.warnings.push(text);
    this.#context.log.warn(text, { event: 'wal_stream_trouble', kind, code });
  }

  raiseError(kind: string, error: HoldfastError): void {
    const { message, hint, code } = error;
    this.raise(kind, hint === undefined ? message : `${message}. ${hint}`, code);
  }

  /** Says that a trouble is over, if it was one. */
  settle(kind: string, text: string): void {
    if (!this.#told.delete(kind)) return;
    this.#context.log.step(text, { event: 'wal_stream_mended', kind });
  }
}

/** One stream under way. */
class StreamRun {
  readonly alarms: Alarms;
  failures = 0;
  slot: string | null = null;
  received: bigint | null = null;
  readonly #context: RepositoryContext;
  readonly #request: StreamRequest;
  readonly #cluster: string;
  #carrier: Carrier | null = null;
  #isFirst = true;
  #skipsAhead = false;
  #hasSkipped = false;
  #nextCarrySeconds = 0;
  #carryRestMs = restMsMin;

  constructor(context: RepositoryContext, request: StreamRequest, cluster: string, alarms: Alarms) {
    this.#context = context;
    this.#request = request;
    this.#cluster = cluster;
    this.alarms = alarms;
  }

  get carried(): number {
    return this.#carrier?.carried ?? 0;
  }

  /** Streams until it is told to end. @throws HoldfastError what does not mend itself */
  async run(): Promise<void> {
    const { stopwatch, signal } = this.#context;
    let restMs = restMsMin;
    await endOrphan(this.#context, this.#cluster);
    while (!signal.aborted) {
      const begun = stopwatch();
      try {
        await this.#stream();
        if (this.#request.once) return;
      } catch (thrown) {
        if (signal.aborted) return;
        const error = toHoldfastError(thrown, 'streaming the WAL');
        const mayGoOn = this.#maySkip();
        if ((this.#request.once && !mayGoOn) || finalCodes.has(error.code)) throw error;
        this.failures += 1;
        this.alarms.raiseError('stream', error);
        if (mayGoOn) continue;
      }
      if (stopwatch() - begun > steadySeconds) restMs = restMsMin;
      await this.#rest(restMs);
      restMs = Math.min(restMsMax, 2 * restMs);
    }
  }

  /** Whether the next try begins where the server still has WAL: not twice in a row. */
  #maySkip(): boolean {
    const may = this.#skipsAhead && !this.#hasSkipped;
    this.#skipsAhead = may;
    this.#hasSkipped = may;
    return may;
  }

  /** One run of pg_receivewal. */
  async #stream(): Promise<void> {
    const context = this.#context;
    const start = await withStreamServer(context, (server) =>
      prepareStream(context, server, {
        slot: this.#request.slot,
        skipsAhead: this.#skipsAhead,
        mayClaim: this.#isFirst,
      }),
    );
    this.#skipsAhead = false;
    this.slot = start.slot;
    for (const [place, text] of start.warnings.entries()) this.alarms.raise(`gap ${place}`, text);
    this.#carrier ??= new Carrier(context, {
      archive: openWalArchive(context.repository.local, this.#cluster),
      claim: start.claims.archive,
      folder: start.folder,
      segmentBytes: start.segmentBytes,
    });
    if (this.#isFirst) {
      const { server } = start.claims.stream;
      const text = `streaming the WAL of ${server} into ${printable(start.folder)}`;
      context.log.step(`${text}, slot ${start.slot}`, { event: 'wal_stream_started' });
    }
    this.#isFirst = false;
    const end = this.#request.once ? start.flushed : null;
    const receiver = await startReceiver(context, this.#cluster, start, end);
    try {
      await this.#attend(receiver);
      await this.#judge(receiver, start, end);
    } finally {
      await receiver.child.end();
      await receiver.forget();
    }
  }

  /** Carries and looks at the slot until pg_receivewal has ended. */
  async #attend({ child }: Receiver): Promise<void> {
    const { stopwatch } = this.#context;
    let nextLook = stopwatch() + firstLookSeconds;
    let hasEnded = false;
    const ended = child.exited.then(() => {
      hasEnded = true;
    });
    while (!hasEnded) {
      const timer = new AbortController();
      const pause = sleep(pollMs, undefined, { signal: timer.signal }).catch(() => undefined);
      await Promise.race([ended, pause]);
      timer.abort();
      await this.#carry(false);
      if (hasEnded || stopwatch() < nextLook) continue;
      nextLook = stopwatch() + lookSeconds;
      await this.#look();
    }
    await ended;
  }

  /** What its end means. @throws HoldfastError why it ended, where nobody asked it to */
  async #judge({ child }: Receiver, start: StreamStart, end: bigint | null): Promise<void> {
    const { status, signal } = await child.exited;
    if (this.#context.signal.aborted) return;
    const stderr = child.stderrTail();
    const { user: role } = start.parameters;
    if (status === 0 && end !== null) {
      this.received = end;
      await this.#carry(true);
      return;
    }
    this.#skipsAhead = isWalRemoved({ stderr });
    throw describeReceiveFailure({ stderr, status, signal, role, slot: start.slot });
  }

  /**
   * Carries what is complete. A failure leaves the stream running: it is told and tried again.
   *
   * @param isLast there will be no other try
   * @throws HoldfastError ARCHIVE_CLAIMED: somebody else has the archive now
   */
  async #carry(isLast: boolean): Promise<void> {
    const { stopwatch, signal } = this.#context;
    if (signal.aborted || (!isLast && stopwatch() < this.#nextCarrySeconds)) return;
    try {
      await this.#carrier?.carry();
      this.#carryRestMs = restMsMin;
      this.alarms.settle('carry', 'segments are carried into the archive again');
    } catch (thrown) {
      if (signal.aborted) return;
      const error = toHoldfastError(thrown, 'carrying WAL into the archive');
      if (isLast || error.code === 'ARCHIVE_CLAIMED') throw error;
      this.alarms.raiseError('carry', error);
      this.#nextCarrySeconds = stopwatch() + this.#carryRestMs / 1000;
      this.#carryRestMs = Math.min(restMsMax, 2 * this.#carryRestMs);
    }
  }

  /** Looks at the slot. Where the server does not answer, pg_receivewal will tell. */
  async #look(): Promise<void> {
    const context = this.#context;
    const name = this.slot ?? '';
    try {
      await withStreamServer(context, async ({ client, settings }) => {
        const slot = await readSlot(client, name);
        const found = slotWarnings({ slot, keepBytesMax: settings.keepBytesMax });
        for (const { kind, message } of found) this.alarms.raise(kind, message);
        for (const kind of ['uncapped', 'behind', 'unreserved'] as const) {
          if (found.some((each) => each.kind === kind)) continue;
          this.alarms.settle(kind, `the slot ${name} is as it should be again (${kind})`);
        }
        if (slot?.isActive === true) this.alarms.settle('stream', 'the stream runs again');
      });
    } catch (error) {
      context.log.trace(`the slot could not be looked at: ${toHoldfastError(error).message}`);
    }
  }

  /** Waits before the next try, and carries meanwhile. */
  async #rest(restMs: number): Promise<void> {
    const { stopwatch, signal } = this.#context;
    const until = stopwatch() + restMs / 1000;
    while (!signal.aborted && stopwatch() < until) {
      await sleep(Math.min(pollMs, restMs), undefined, { signal }).catch(() => undefined);
      await this.#carry(false);
    }
  }
}

/** The cluster's name; a server that is not there yet is waited for. */
async function findCluster(
  context: RepositoryContext,
  { once }: StreamRequest,
  alarms: Alarms,
): Promise<string | null> {
  const { signal } = context;
  for (let restMs = restMsMin; !signal.aborted; restMs = Math.min(restMsMax, 2 * restMs)) {
    try {
      return await streamedCluster(context);
    } catch (thrown) {
      const error = toHoldfastError(thrown);
      if (once || finalCodes.has(error.code)) throw error;
      if (signal.aborted) break;
      alarms.raiseError('stream', error);
    }
    await sleep(restMs, undefined, { signal }).catch(() => undefined);
  }
  return null;
}

/**
 * Streams the WAL of the server that the settings name until the context's signal fires: that is
 * its ordinary end.
 *
 * @throws HoldfastError LOCKED where the cluster is streamed already, ARCHIVE_CLAIMED, what a wrong
 *   configuration is; with `once` whatever goes wrong
 */
export async function streamWal(
  context: RepositoryContext,
  request: StreamRequest,
): Promise<StreamResult> {
  const alarms = new Alarms(context);
  const cluster = await findCluster(context, request, alarms);
  const nothing = { cluster: '', slot: null, carried: 0, failures: 0, received_lsn: null };
  if (cluster === null) return { ...nothing, warnings: alarms.warnings };
  return withFileLock(streamLock(context, cluster), { waitMs: 0 }, async () => {
    const run = new StreamRun(context, request, cluster, alarms);
    await runBeside(context, cluster, request.once, () => run.run());
    return {
      cluster,
      slot: run.slot,
      carried: run.carried,
      failures: run.failures,
      received_lsn: run.received === null ? null : formatLsn(run.received),
      warnings: alarms.warnings,
    };
  });
}
