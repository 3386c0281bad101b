/**
 * What is remembered of alerts: which troubles there are, and which alerts a channel still lacks.
 * One document, so that both change at once: after a crash no alert is forgotten, and none is made
 * a second time under another `id`. Pure.
 */

import { type Alert, alertSchema, type Priority, reaches } from './alert.ts';
import { type Static, Type } from './type_builder.ts';
import { documentReader } from './validate.ts';

/** The version of the document. */
export const alertMemoryFormat = 1;

/** How many alerts wait at most: beyond that the oldest are dropped. */
export const waitingMax = 500;

const closed = { additionalProperties: false } as const;
const NullableText = Type.Union([Type.String(), Type.Null()]);

const knownTroubleSchema = Type.Object(
  {
    key: Type.String(),
    event: Type.String(),
    title: Type.String(),
    cluster: NullableText,
    database: NullableText,
    /** When it began; times are ISO 8601, UTC. */
    since: Type.String(),
    /** When it was last told. */
    sent_at: Type.String(),
    /** The highest priority with which it was told since the last reminder. */
    sent_priority: alertSchema.properties.priority,
    /** The highest priority with which it was told at all: who heard of it hears of its end. */
    worst_priority: alertSchema.properties.priority,
    /** When it ended, for one that is remembered because it may come back; `null`: it is there. */
    ended_at: NullableText,
    /** How often it has begun, while it was remembered. */
    begun: Type.Integer({ minimum: 1 }),
    /** Whether its end was told. */
    end_told: Type.Boolean(),
  },
  closed,
);

const waitingSchema = Type.Object(
  {
    alert: alertSchema,
    /** The channels that do not have it yet. */
    channels: Type.Array(Type.String()),
  },
  closed,
);

const memorySchema = Type.Object(
  {
    format: Type.Literal(alertMemoryFormat),
    troubles: Type.Array(knownTroubleSchema),
    /** Oldest first. */
    outbox: Type.Array(waitingSchema),
    /** How many alerts were dropped from a full outbox and not told of yet. */
    dropped: Type.Integer({ minimum: 0 }),
  },
  closed,
);

/** A trouble that was told, until its end was told and it did not come back for a while. */
export type KnownTrouble = Static<typeof knownTroubleSchema>;

/** All of it. */
export type AlertMemory = Static<typeof memorySchema>;

/** The memory of who has never told anything. */
export const emptyMemory: AlertMemory = {
  format: alertMemoryFormat,
  troubles: [],
  outbox: [],
  dropped: 0,
};

/**
 * Reads the memory.
 *
 * @throws HoldfastError DAMAGED
 */
export const parseAlertMemory = documentReader(memorySchema, {
  name: 'the memory of alerts',
  format: alertMemoryFormat,
  code: 'DAMAGED',
});

/** A channel, as far as it matters who gets what. */
export interface Listener {
  readonly name: string;
  readonly minPriority: Priority;
}

/** Those that wait, and more behind them; of too many the oldest are dropped and counted. */
function queued(memory: AlertMemory, added: AlertMemory['outbox']): AlertMemory {
  const outbox = [...memory.outbox, ...added];
  const tooMany = Math.max(0, outbox.length - waitingMax);
  return { ...memory, outbox: outbox.slice(tooMany), dropped: memory.dropped + tooMany };
}

/**
 * Puts alerts behind those that wait, for every channel that wants them. Where they are too many,
 * the oldest are dropped and counted.
 */
export function withAlerts(
  memory: AlertMemory,
  alerts: readonly Alert[],
  listeners: readonly Listener[],
): AlertMemory {
  const added = alerts.flatMap((alert) => {
    const wanting = listeners.filter(({ minPriority }) => reaches(alert.priority, minPriority));
    const channels = wanting.map(({ name }) => name);
    return channels.length === 0 ? [] : [{ alert, channels }];
  });
  return queued(memory, added);
}

/**
 * Takes in what was remembered elsewhere while this could not be reached: of a trouble that both
 * know, that is the newer. Done twice it is as done once.
 */
export function withSpare(memory: AlertMemory, spare: AlertMemory): AlertMemory {
  const keys = new Set(spare.troubles.map(({ key }) => key));
  const ids = new Set(memory.outbox.map(({ alert }) => alert.id));
  const added = spare.outbox.filter(({ alert }) => !ids.has(alert.id));
  const troubles = [...memory.troubles.filter(({ key }) => !keys.has(key)), ...spare.troubles];
  return queued({ ...memory, troubles, dropped: memory.dropped + spare.dropped }, added);
}

/** Takes an alert off the list of a channel that has it, and out of the memory after the last. */
export function withoutDelivered(memory: AlertMemory, id: string, channel: string): AlertMemory {
  const outbox = memory.outbox.flatMap((waiting) => {
    if (waiting.alert.id !== id) return [waiting];
    const channels = waiting.channels.filter((name) => name !== channel);
    return channels.length === 0 ? [] : [{ ...waiting, channels }];
  });
  return { ...memory, outbox };
}

/** Takes channels off that are not set up any more: nobody waits for what they would get. */
export function withoutStrangers(memory: AlertMemory, names: readonly string[]): AlertMemory {
  const outbox = memory.outbox.flatMap((waiting) => {
    const channels = waiting.channels.filter((name) => names.includes(name));
    return channels.length === 0 ? [] : [{ ...waiting, channels }];
  });
  return { ...memory, outbox };
}

/** Takes an alert off the list of a channel that will never have it; it counts as dropped. */
export function givenUp(memory: AlertMemory, id: string, channel: string): AlertMemory {
  const without = withoutDelivered(memory, id, channel);
  return { ...without, dropped: without.dropped + 1 };
}

/**
 * The oldest alert that a channel lacks, or `null`.
 *
 * @param passedOver an alert that is passed over, by its `id`
 */
export function nextFor(
  memory: AlertMemory,
  channel: string,
  passedOver: string | null = null,
): Alert | null {
  const next = memory.outbox.find(
    ({ alert, channels }) => alert.id !== passedOver && channels.includes(channel),
  );
  return next?.alert ?? null;
}
