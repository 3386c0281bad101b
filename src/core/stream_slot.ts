/**
 * The replication slot of a stream: its name, and what its state on the server means (PostgreSQL
 * manual, "Replication Slots" and the view pg_replication_slots).
 */

import { quoteLiteral } from './quote.ts';
import { sha256Of } from './sums.ts';
import { formatBytes } from './units.ts';

/** Lower-case letters, digits and underscores (manual, "Querying And Manipulating Slots"). */
const slotPattern = /^[a-z0-9_]{1,63}$/;
const slotPrefix = 'holdfast_';
/** So many characters of the cluster's own name stay readable in front of its hash. */
const readableMax = 40;
const hashDigits = 8;

/** Whether the server takes a name for a slot. */
export function isSlotName(name: string): boolean {
  return slotPattern.test(name);
}

/** The name of the slot for a cluster: the same every time, and another for every cluster. */
export function slotNameFor(cluster: string): string {
  const plain = `${slotPrefix}${cluster}`;
  if (isSlotName(plain)) return plain;
  const readable = cluster.toLowerCase().replaceAll(/[^a-z0-9]+/g, '_');
  // Clusters whose names differ only where a slot's name cannot show it stay apart.
  const hash = sha256Of(Buffer.from(cluster, 'utf8')).slice(0, hashDigits);
  return `${slotPrefix}${readable.slice(0, readableMax)}_${hash}`;
}

/** A slot as pg_replication_slots tells it. */
export interface SlotState {
  readonly name: string;
  readonly type: 'physical' | 'logical';
  readonly isActive: boolean;
  /** Of the session on the server that uses it. */
  readonly activePid: number | null;
  /** Up to here the stream has everything on its disk; `null`: it was never used, or is lost. */
  readonly restartLsn: string | null;
  readonly walStatus: 'reserved' | 'extended' | 'unreserved' | 'lost' | null;
  /** How much may be written until it is lost; `null` where nothing caps it. */
  readonly safeBytes: number | null;
  /** How much WAL the server has written since {@link restartLsn}. */
  readonly lagBytes: number | null;
}

/** What surrounds a slot on its server. */
export interface SlotGround {
  readonly slot: SlotState | null;
  /** The setting max_slot_wal_keep_size in bytes; `null`: -1, without limit. */
  readonly keepBytesMax: number | null;
}

/** Something about a slot that somebody should know. */
export interface SlotWarning {
  /** Tells the same trouble again. */
  readonly kind: 'uncapped' | 'behind' | 'unreserved';
  readonly message: string;
}

/** Without a cap this much behind is worth a word. */
const lagBytesMax = 1024 ** 3;
/** Of what a slot may keep: behind that much of it is worth a word. */
const lagShareMax = 0.5;
/** What we propose to cap it to. */
const proposedCap = '16GB';

/** What mends a slot that nothing caps. */
function capStatement(): string {
  const cap = quoteLiteral(proposedCap);
  return `ALTER SYSTEM SET max_slot_wal_keep_size = ${cap}; SELECT pg_reload_conf();`;
}

/** What is not as it should be about a slot. */
export function slotWarnings({ slot, keepBytesMax }: SlotGround): SlotWarning[] {
  const warnings: SlotWarning[] = [];
  if (keepBytesMax === null) {
    const message =
      'max_slot_wal_keep_size is -1: while the stream stands still, the WAL that its slot keeps ' +
      `fills the disk of the server. Cap it: ${capStatement()}`;
    warnings.push({ kind: 'uncapped', message });
  }
  const lag = slot?.lagBytes ?? 0;
  if (slot?.walStatus === 'unreserved') {
    const message = `the slot ${slot.name} is about to be lost: the server removes its WAL`;
    warnings.push({ kind: 'unreserved', message });
  } else if (lag > (keepBytesMax === null ? lagBytesMax : keepBytesMax * lagShareMax)) {
    const left =
      slot?.safeBytes == null ? '' : `, and is lost after ${formatBytes(slot.safeBytes)} more`;
    const message = `the stream is ${formatBytes(lag)} behind the server${left}`;
    warnings.push({ kind: 'behind', message });
  }
  return warnings;
}
