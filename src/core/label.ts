import { HoldfastError } from './errors.ts';

/** The tiers of a logical backup: how often it is taken, and so how long it is kept. */
export const tiers = ['daily', 'weekly', 'monthly', 'manual'] as const;
export type Tier = (typeof tiers)[number];

/** A label taken apart. It sorts by time and names one backup for ever. */
export interface Label {
  readonly text: string;
  /** UTC start of the backup, to the second. */
  readonly startedAt: Date;
  readonly tier: Tier;
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
export function makeLabel(startedAt: Date, tier: Tier, random: Uint8Array): string {
  const suffix = [...random.subarray(0, 4)]
    .map((byte) => randomAlphabet[byte % randomAlphabet.length])
    .join('');
  return `${compactTime(startedAt)}-${tier}-${suffix}`;
}

/** The parts of a label, or `null` when the text is none (a date that does not exist is none). */
export function parseLabel(text: string): Label | null {
  const match = labelPattern.exec(text);
  if (match === null) return null;
  const [, timeText = '', tierText] = match;
  const tier = tiers.find((candidate) => candidate === tierText);
  const startedAt = parseCompactTime(timeText);
  if (tier === undefined || startedAt === null) return null;
  return { text, startedAt, tier };
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
