import { HoldfastError } from './errors.ts';

/** The tiers of a logical backup: how often it is taken, and so how long it is kept. */
export const tiers = ['daily', 'weekly', 'monthly', 'manual'] as const;
export type Tier = (typeof tiers)[number];

/** The kinds of base backups: whole, or what has changed since another one (PostgreSQL 17+). */
export const baseKinds = ['base', 'incr'] as const;
export type BaseKind = (typeof baseKinds)[number];

/** A label taken apart. It sorts by time and names one backup for ever. */
export interface Label {
  readonly text: string;
  /** UTC start of the backup, to the second. */
  readonly startedAt: Date;
  readonly tier: Tier;
}

/** The label of a base backup taken apart. */
export interface BaseLabel {
  readonly text: string;
  /** UTC start of the backup, to the second. */
  readonly startedAt: Date;
  readonly kind: BaseKind;
}

const labelPattern = /^(\d{8}T\d{6}Z)-([a-z]+)-([a-z0-9]{4})$/;
const randomAlphabet = 'abcdefghijklmnopqrstuvwxyz0123456789';

/** `2026-11-21T02:00:00.123Z` → `20261121T020000Z`. */
export function compactTime(time: Date): string {
  return `${time.toISOString().slice(0, 19).replaceAll(/[-:]/g, '')}Z`;
}

const compactPattern = /^(\d{4})(\d{2})(\d{2})T(\d{2})(\d{2})(\d{2})Z$/;

/** The mirror of {@link compactTime}; `null` for a date that does not exist. */
export function parseCompactTime(text: string): Date | null {
  const match = compactPattern.exec(text);
  if (match === null) return null;
  const [, year, month, day, hour, minute, second] = match;
  const iso = `${year}-${month}-${day}T${hour}:${minute}:${second}.000Z`;
  const time = new Date(iso);
  return Number.isNaN(time.getTime()) || time.toISOString() !== iso ? null : time;
}

/**
 * Builds a label such as `20261121T020000Z-daily-k3f9` (REPOSITORY.md, "Label").
 *
 * @param random at least four random bytes
 */
export function makeLabel(startedAt: Date, tier: Tier | BaseKind, random: Uint8Array): string {
  const suffix = [...random.subarray(0, 4)]
    .map((byte) => randomAlphabet[byte % randomAlphabet.length])
    .join('');
  return `${compactTime(startedAt)}-${tier}-${suffix}`;
}

/** A label in three parts, with whatever word in its middle. */
function splitLabel(text: string): { readonly startedAt: Date; readonly word: string } | null {
  const [, timeText = '', word = ''] = labelPattern.exec(text) ?? [];
  const startedAt = parseCompactTime(timeText);
  return startedAt === null ? null : { startedAt, word };
}

/** The parts of a label, or `null` when the text is none (a date that does not exist is none). */
export function parseLabel(text: string): Label | null {
  const parts = splitLabel(text);
  const tier = tiers.find((candidate) => candidate === parts?.word);
  return parts === null || tier === undefined ? null : { text, startedAt: parts.startedAt, tier };
}

/** Like {@link parseLabel}, for a base backup: a label of one kind is never one of the other. */
export function parseBaseLabel(text: string): BaseLabel | null {
  const parts = splitLabel(text);
  const kind = baseKinds.find((candidate) => candidate === parts?.word);
  return parts === null || kind === undefined ? null : { text, startedAt: parts.startedAt, kind };
}

/** Like {@link parseLabel}. @throws HoldfastError USAGE when the text is no label */
export function requireLabel(text: string): Label {
  const label = parseLabel(text);
  if (label === null) {
    throw new HoldfastError('USAGE', `${JSON.stringify(text)} is not a backup's label`, {
      hint: 'A label looks like 20261121T020000Z-daily-k3f9; scripts/list_backups.ts shows them.',
    });
  }
  return label;
}

/** Like {@link parseBaseLabel}. @throws HoldfastError USAGE when the text is no such label */
export function requireBaseLabel(text: string): BaseLabel {
  const label = parseBaseLabel(text);
  if (label === null) {
    throw new HoldfastError('USAGE', `${JSON.stringify(text)} is not a base backup's label`, {
      hint: 'One looks like 20261121T020000Z-base-k3f9; list_backups.ts shows them.',
    });
  }
  return label;
}
