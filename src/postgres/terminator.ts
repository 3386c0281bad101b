/** Ends the sessions of databases that are about to be renamed, one after the other. */

import { setTimeout as sleep } from 'node:timers/promises';
import { type Queryable, queryRows } from './query.ts';
import { sqlState } from './server_error.ts';

const terminateIntervalMs = 50;

/** A session that cannot be ended, and the server's words why. */
export interface Stubborn {
  readonly role: string | null;
  readonly applicationName: string;
  readonly words: string;
}

/** Ends the sessions of databases, again and again, until it is told to stop. */
export class Terminator {
  readonly #client: Queryable;
  readonly #oids: readonly number[];
  readonly #stop = new AbortController();
  #cancelPid: number | null = null;
  /** Why it ended by itself, or `null`. */
  failure: unknown = null;
  readonly #ended = new Set<number>();
  readonly #stubborn = new Map<number, Stubborn>();

  readonly #sparedPid: number;

  /** @param sparedPid a session that is not ended */
  constructor(client: Queryable, oids: readonly number[], sparedPid = 0) {
    this.#client = client;
    this.#oids = oids;
    this.#sparedPid = sparedPid;
  }

  get ended(): number {
    return this.#ended.size;
  }

  get stubborn(): readonly Stubborn[] {
    return [...this.#stubborn.values()];
  }

  /**
   * One by one: a session that may not be ended must not save the others. Autovacuum's workers,
   * which have no role, are ended by the server itself.
   */
  async #endAll(): Promise<void> {
    const sessions = await queryRows<{ pid: number; role: string | null; application: string }>(
      this.#client,
      `SELECT pid, usename::text AS role, coalesce(application_name, '') AS application
         FROM pg_stat_activity WHERE datid = ANY ($1::oid[]) AND usesysid IS NOT NULL
          AND pid <> $2::int`,
      [this.#oids, this.#sparedPid],
    );
    this.#stubborn.clear();
    for (const { pid, role, application } of sessions) {
      try {
        await queryRows(this.#client, 'SELECT pg_terminate_backend($1)', [pid]);
        this.#ended.add(pid);
      } catch (error) {
        if (sqlState(error) !== '42501') throw error;
        const words = error instanceof Error ? error.message : String(error);
        this.#stubborn.set(pid, { role, applicationName: application, words });
      }
    }
  }

  async run(): Promise<void> {
    try {
      const { signal } = this.#stop;
      while (!signal.aborted) {
        const pid = this.#cancelPid;
        this.#cancelPid = null;
        if (pid !== null) await queryRows(this.#client, 'SELECT pg_cancel_backend($1)', [pid]);
        await this.#endAll();
        // Whoever stops it waits for its end, and need not wait for the pause.
        await sleep(terminateIntervalMs, undefined, { signal }).catch(() => undefined);
      }
    } catch (error) {
      this.failure = error;
    }
  }

  /** Breaks off the statement of another session, on the next turn. */
  cancel(pid: number): void {
    this.#cancelPid = pid;
  }

  stop(): void {
    this.#stop.abort();
  }
}
